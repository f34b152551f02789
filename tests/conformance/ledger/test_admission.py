"""A run is admitted as `bedplate.kernel.admission` decides, on the thread as it really is."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.kernel.admission import Decision, Request, ThreadFacts, admit
from bedplate.kernel.errors import Conflict, NotFound, Refused
from bedplate.kernel.run import Run
from bedplate.ledger import Admitted, NewThread
from bedplate_proto.vocabulary import IfExists, IfNotExists, MultitaskStrategy, RunStatus

DECIDED = (MultitaskStrategy.ENQUEUE, MultitaskStrategy.REJECT)
# Each way a thread can be one of the facts; a delayed run and a waiting one occupy it too.
SITUATIONS = (
    (ThreadFacts.MISSING, None),
    (ThreadFacts.FREE, "new"),
    (ThreadFacts.FREE, RunStatus.SUCCESS),
    (ThreadFacts.OCCUPIED, "delayed"),
    (ThreadFacts.OCCUPIED, RunStatus.PENDING),
    (ThreadFacts.OCCUPIED, RunStatus.RUNNING),
)


async def thread_in(books: Any, situation: str | None) -> UUID:
    match situation:
        case None:
            return uuid4()
        case "new":
            thread_id = uuid4()
            await books.threads.create(
                NewThread(
                    tenant="default",
                    thread_id=thread_id,
                    metadata="{}",
                    if_exists=IfExists.RAISE,
                )
            )
            return thread_id
        case "delayed":
            return (await books.create(after_s=3600)).thread_id
        case _:
            return (await books.place(Run(RunStatus(situation), 1))).thread_id


@pytest.mark.parametrize(("facts", "situation"), SITUATIONS)
async def test_every_request_is_admitted_as_the_kernel_decides(
    books: Any, facts: ThreadFacts, situation: str | None
) -> None:
    books.broker.is_up = False
    for strategy, if_not_exists, after_s in product(DECIDED, IfNotExists, (0.0, 3600.0)):
        thread_id = await thread_in(books, situation)
        await books.flushed()
        await books.taken_messages()
        before = await books.thread(thread_id)
        order = books.order(
            thread_id,
            multitask_strategy=strategy,
            if_not_exists=if_not_exists,
            after_s=after_s,
        )
        decision = admit(facts, Request(strategy, if_not_exists, is_delayed=after_s > 0))
        case = f"{facts} ({situation}), {strategy}, {if_not_exists}, {after_s} -> {decision}"
        if decision in (Decision.REFUSE_BUSY, Decision.REFUSE_MISSING):
            refusal = Conflict if decision is Decision.REFUSE_BUSY else NotFound
            with pytest.raises(refusal):
                await books.admissions.create(order)
            assert await books.run(order.run_id) is None, case
            assert await books.thread(thread_id) == before, case
            assert await books.waiting_messages() == [], case
            continue
        answer = json.loads((await books.admissions.create(order)).row)
        assert (answer["run_id"], answer["status"]) == (str(order.run_id), "pending"), case
        await books.flushed()
        kinds = [message.subject for message in await books.taken_messages()]
        thread = await books.thread(thread_id)
        assert thread["status"] == "busy", case
        starts = decision in (Decision.START, Decision.START_ON_NEW_THREAD)
        # A run that only delayed ones stand before is due at once.
        dispatched = starts or (situation == "delayed" and after_s == 0)
        assert (thread["current_run"] == order.run_id) == dispatched, case
        assert sorted(kind.removeprefix("bedplate.v1.") for kind in kinds) == (
            ["dispatch.default.normal"] * dispatched + ["lc.default.run.created"]
        ), case
        await books.assert_consistent(thread_id)


async def test_a_ticket_is_written_before_the_fact_that_nobody_waits_for(books: Any) -> None:
    order = await books.create()
    await books.flushed()
    assert [message.msg_id for message in books.broker.stored] == [
        f"{order.run_id}:1",
        f"{order.run_id}:run.created",
    ]


async def test_an_order_that_comes_twice_makes_one_run(books: Any) -> None:
    books.broker.is_up = False
    for is_temporary in (False, True):
        order = books.order(is_temporary=is_temporary)
        first = await books.admissions.create(order)
        again = await books.admissions.create(order)
        assert json.loads(again.row) == json.loads(first.row)
        assert (await books.thread(order.thread_id))["runs_active"] == 1
        await books.flushed()
        assert len(await books.taken_messages()) == 2


async def test_an_order_that_comes_twice_at_once_makes_one_run(books: Any) -> None:
    for _ in range(20):
        order = books.order()
        answers = await asyncio.gather(*[books.admissions.create(order) for _ in range(5)])
        assert len({json.loads(answer.row)["run_id"] for answer in answers}) == 1
        assert (await books.thread(order.thread_id))["runs_active"] == 1
        await books.assert_consistent(order.thread_id)


async def test_many_first_runs_of_one_thread_at_once_are_all_admitted(books: Any) -> None:
    for _ in range(10):
        thread_id = uuid4()
        orders = [books.order(thread_id) for _ in range(8)]
        await asyncio.gather(*[books.admissions.create(order) for order in orders])
        thread = await books.thread(thread_id)
        assert thread["runs_active"] == 8
        await books.assert_consistent(thread_id)


async def test_only_one_of_many_rejecting_runs_at_once_is_admitted(books: Any) -> None:
    for _ in range(10):
        thread_id = uuid4()
        answers = await asyncio.gather(
            *[
                books.admissions.create(
                    books.order(thread_id, multitask_strategy=MultitaskStrategy.REJECT)
                )
                for _ in range(6)
            ],
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Admitted) for answer in answers) == 1
        assert sum(isinstance(answer, Conflict) for answer in answers) == 5


async def test_a_run_id_that_belongs_to_another_thread_is_a_conflict(books: Any) -> None:
    known = await books.create()
    free = await books.create()
    await books.admissions.cancel(free.run_id, free.thread_id, tenant="default", action="interrupt")
    for thread_id in (uuid4(), free.thread_id):
        with pytest.raises(Conflict, match="run id"):
            await books.create(thread_id, run_id=known.run_id)
    assert await books.thread(free.thread_id)
    await books.assert_consistent(free.thread_id)


@pytest.mark.parametrize("if_not_exists", IfNotExists)
async def test_another_tenants_thread_is_not_found(books: Any, if_not_exists: IfNotExists) -> None:
    order = await books.create()
    with pytest.raises(NotFound):
        await books.create(order.thread_id, tenant="other", if_not_exists=if_not_exists)
    assert (await books.thread(order.thread_id))["runs_active"] == 1


async def test_a_thread_that_is_about_to_be_swept_is_not_found(books: Any, outcome: Any) -> None:
    order = await books.create(is_temporary=True, deletes_thread=True)
    attempt = await books.claim(order)
    await books.ledger.finish(books.about(order, attempt), outcome())
    with pytest.raises(NotFound):
        await books.create(order.thread_id)


async def test_runs_of_a_thread_are_dispatched_in_the_order_they_came(
    books: Any, outcome: Any
) -> None:
    first = await books.create()
    later = [await books.create(first.thread_id) for _ in range(4)]
    order = first
    for expected in later:
        assert not await books.dispatch.dispatch_next(first.thread_id)
        attempt = await books.claim(order)
        await books.ledger.finish(books.about(order, attempt), outcome())
        assert await books.dispatch.dispatch_next(first.thread_id)
        assert (await books.thread(first.thread_id))["current_run"] == expected.run_id
        order = expected
    assert await books.dispatch.find_undispatched(limit=10) == []


async def test_a_delayed_run_does_not_hold_up_the_others_and_runs_when_it_is_due(
    books: Any, outcome: Any
) -> None:
    delayed = await books.create(after_s=3600)
    assert await books.dispatch.find_undispatched(limit=10) == []
    now = await books.create(delayed.thread_id)
    attempt = await books.claim(now)
    await books.ledger.finish(books.about(now, attempt), outcome())
    assert not await books.dispatch.dispatch_next(delayed.thread_id)
    assert await books.ledger.claim([delayed.run_id], by="x", lease_s=60) == []
    await books.pool.execute(
        "UPDATE runs SET created_at = now() - interval '1 second' WHERE run_id = $1", delayed.run_id
    )
    assert await books.dispatch.find_undispatched(limit=10) == [delayed.thread_id]
    assert await books.dispatch.dispatch_next(delayed.thread_id)
    assert await books.claim(delayed) == 1


async def test_a_delay_is_counted_from_the_databases_clock(books: Any) -> None:
    order = await books.create(after_s=90)
    row = await books.run(order.run_id)
    assert row["created_at"] - row["updated_at"] == timedelta(seconds=90)


async def test_a_run_that_is_not_its_threads_turn_cannot_be_claimed(books: Any) -> None:
    first = await books.create()
    second = await books.create(first.thread_id)
    assert await books.ledger.claim([second.run_id], by="x", lease_s=60) == []
    claimed = await books.ledger.claim([second.run_id, first.run_id], by="x", lease_s=60)
    assert [each.run_id for each in claimed] == [first.run_id]


async def test_the_input_keeps_its_order_of_keys_and_its_numbers(books: Any) -> None:
    kwargs = '{"z": 123456789012345678901234567890, "a": 1.10, "m": {"b": 1, "a": [1e400]}}'
    order = await books.create(kwargs=kwargs, metadata='{"k": "v"}')
    (claimed,) = await books.ledger.claim([order.run_id], by="x", lease_s=60)
    assert claimed.kwargs == kwargs
    assert json.loads(claimed.metadata) == {"k": "v"}


async def test_a_run_takes_its_metadata_and_config_to_the_thread(books: Any) -> None:
    first = await books.create(thread_metadata='{"a": 1, "b": 1}', thread_config='{"x": 1}')
    await books.create(first.thread_id, thread_metadata='{"b": 2}', thread_config='{"y": 1}')
    thread = await books.thread(first.thread_id)
    assert json.loads(thread["metadata"]) == {"a": 1, "b": 2}
    assert json.loads(thread["config"]) == {"y": 1}


async def test_a_runs_metadata_is_its_assistants_its_threads_and_its_own(books: Any) -> None:
    every = '{"a": "assistant", "t": "assistant", "m": "assistant"}'
    own = {"assistant_metadata": every, "metadata": '{"m": "run"}'}
    first = await books.create(**own, thread_metadata='{"t": "thread", "m": "thread"}')
    second = await books.create(first.thread_id, **own)
    for order in (first, second):
        row = await books.run(order.run_id)
        assert json.loads(row["metadata"]) == {"a": "assistant", "t": "thread", "m": "run"}


@pytest.mark.parametrize(
    "part", ["assistant_metadata", "metadata", "thread_metadata", "thread_config"]
)
async def test_text_that_postgresql_cannot_hold_is_refused_by_name(books: Any, part: str) -> None:
    for text in ('{"a": "\\u0000"}', '{"a": "\\ud800"}', "{"):
        with pytest.raises(Refused, match="JSON"):
            await books.create(**{part: text})


async def test_a_nul_in_the_input_neither_stops_a_cancel_nor_an_expiry(books: Any) -> None:
    order = await books.create(kwargs='{"input": "\\u0000", "webhook": "https://x.test/"}')
    attempt = await books.claim(order)
    (lost,) = await books.ledger.lose({order.run_id: attempt}, failures_max=3, expired_only=False)
    assert lost.run_id == order.run_id
    await books.admissions.cancel(
        order.run_id, order.thread_id, tenant="default", action="interrupt"
    )
