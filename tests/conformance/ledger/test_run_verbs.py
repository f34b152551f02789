"""What each verb of a run does besides its move: what the thread shows, who is told, what stays."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from bedplate.bus.event_line import event_of
from bedplate.kernel.errors import NotFound
from bedplate.kernel.run import Ending, Gone, Run
from bedplate.ledger import Applied, Missing, Superseded
from bedplate.testing.eventually import eventually
from bedplate_proto.subjects import DEFAULT_PREFIX, RunAddress
from bedplate_proto.vocabulary import CancelAction, RunStatus, ThreadStatus

TICKETS = "bedplate.v1.dispatch.default.normal"
FINISHED = "bedplate.v1.lc.default.run.finished"


async def test_a_claim_hands_over_all_an_executor_needs(books: Any) -> None:
    order = await books.create(kwargs='{"input": {"x": 1}}', metadata='{"m": 1}')
    (claimed,) = await books.ledger.claim([order.run_id, uuid4()], by="executor-7", lease_s=60)
    assert (claimed.thread_id, claimed.tenant) == (order.thread_id, order.tenant)
    assert (claimed.assistant_id, claimed.graph_id) == (order.assistant_id, "agent")
    assert (claimed.kwargs, json.loads(claimed.metadata)) == (order.kwargs, {"m": 1})
    assert (claimed.attempt, claimed.failures, claimed.cancel, claimed.events_n) == (1, 0, None, 0)
    row = await books.run(order.run_id)
    assert row["executor"] == "executor-7"
    assert row["started_at"] is not None


async def test_a_finished_run_shows_on_its_thread(books: Any, outcome: Any) -> None:
    order, attempt = await books.running()
    ending = outcome(
        Ending.INTERRUPTED,
        values='{"a": 1}',
        interrupts='{"task": [{"value": "ok?"}]}',
        thread_status=ThreadStatus.INTERRUPTED,
        events_n=17,
    )
    assert await books.ledger.finish(books.about(order, attempt), ending) == Applied()
    thread = await books.thread(order.thread_id)
    assert (thread["status"], thread["settled_status"]) == ("interrupted", "interrupted")
    assert json.loads(thread["values"]) == {"a": 1}
    assert json.loads(thread["interrupts"]) == {"task": [{"value": "ok?"}]}
    assert (thread["events_n"], thread["current_run"], thread["runs_active"]) == (17, None, 0)
    row = await books.run(order.run_id)
    assert row["finished_at"] is not None
    assert row["lease_until"] is None


async def test_a_failed_run_keeps_the_values_its_thread_showed(books: Any, outcome: Any) -> None:
    order, attempt = await books.running()
    await books.ledger.finish(books.about(order, attempt), outcome(values='{"kept": 1}'))
    again, attempt = await books.running(thread_id=order.thread_id)
    error = '{"error": "ValueError", "message": "no"}'
    await books.ledger.finish(
        books.about(again, attempt),
        outcome(Ending.ERROR, values=None, error=error, thread_status=ThreadStatus.ERROR),
    )
    thread = await books.thread(order.thread_id)
    assert json.loads(thread["values"]) == {"kept": 1}
    assert (thread["status"], json.loads(thread["error"])) == ("error", json.loads(error))
    row = await books.run(again.run_id)
    assert (row["status"], json.loads(row["error"])) == ("error", json.loads(error))


async def test_a_thread_is_busy_until_its_last_run_has_ended(books: Any, outcome: Any) -> None:
    first, attempt = await books.running()
    second = await books.create(first.thread_id)
    await books.ledger.finish(
        books.about(first, attempt), outcome(thread_status=ThreadStatus.INTERRUPTED)
    )
    assert (await books.thread(first.thread_id))["status"] == "busy"
    answer = await books.admissions.cancel(
        second.run_id, second.thread_id, tenant="default", action=CancelAction.INTERRUPT
    )
    assert answer.became == Run(RunStatus.INTERRUPTED)
    assert (await books.thread(first.thread_id))["status"] == "interrupted"


async def test_a_run_that_never_started_leaves_the_thread_as_it_was(
    books: Any, outcome: Any
) -> None:
    order, attempt = await books.running()
    await books.ledger.finish(
        books.about(order, attempt),
        outcome(Ending.ERROR, values='{"v": 1}', error="{}", thread_status=ThreadStatus.ERROR),
    )
    for action, gone in ((CancelAction.INTERRUPT, False), (CancelAction.ROLLBACK, True)):
        waiting = await books.create(order.thread_id)
        assert (await books.thread(order.thread_id))["status"] == "busy"
        answer = await books.admissions.cancel(
            waiting.run_id, waiting.thread_id, tenant="default", action=action
        )
        assert (answer.became is Gone.GONE) == gone
        thread = await books.thread(order.thread_id)
        assert (thread["status"], json.loads(thread["values"])) == ("error", {"v": 1})
        assert (await books.run(waiting.run_id) is None) == gone


async def test_the_end_of_a_run_that_never_started_has_a_number_unless_another_one_counts(
    books: Any, outcome: Any
) -> None:
    order, attempt = await books.running()
    behind = await books.create(order.thread_id)

    async def cancelled(run: Any) -> Any:
        await books.admissions.cancel(
            run.run_id, run.thread_id, tenant="default", action=CancelAction.INTERRUPT
        )
        await books.flushed()
        (told,) = [one for one in books.broker.stored if one.msg_id == f"{run.run_id}:end"]
        address = RunAddress("default", run.thread_id, run.run_id)
        assert told.subject == address.stored(DEFAULT_PREFIX)
        event = event_of(told.body.removesuffix("\n").encode(), 1)
        row = await books.run(run.run_id)
        assert json.loads(event.data)["finished_at"] == row["finished_at"].isoformat()
        return event.n

    assert await cancelled(behind) == 0
    finished = await books.ledger.finish(books.about(order, attempt), outcome(events_n=9))
    assert finished.finished_at == (await books.run(order.run_id))["finished_at"]
    for n in (10, 11):
        assert await cancelled(await books.create(order.thread_id)) == n
        assert (await books.thread(order.thread_id))["events_n"] == n
    last = await books.create(order.thread_id)
    (claimed,) = await books.ledger.claim([last.run_id], by="x", lease_s=60)
    assert claimed.events_n == 11


async def test_a_run_remembers_that_it_left_something_to_do(books: Any, outcome: Any) -> None:
    order, attempt = await books.running()
    waiting = outcome(thread_status=ThreadStatus.INTERRUPTED)
    await books.ledger.finish(books.about(order, attempt), waiting)
    # The thread goes on, and is idle then.
    after = await books.create(order.thread_id)
    (claimed,) = await books.ledger.claim([after.run_id], by="x", lease_s=60)
    await books.ledger.finish(books.about(after, claimed.attempt), outcome())
    assert (await books.thread(order.thread_id))["status"] == "idle"
    assert (await books.run(order.run_id))["waits"] is True
    assert (await books.run(after.run_id))["waits"] is False


async def test_the_end_of_a_run_is_told_once_with_its_facts(books: Any, outcome: Any) -> None:
    order, attempt = await books.running(kwargs='{"webhook": "https://x.test/"}')
    behind = await books.create(order.thread_id)
    await books.flushed()
    books.broker.stored.clear()
    about = books.about(order, attempt)
    error = '{"error": "E", "message": "m"}'
    assert await books.ledger.finish(about, outcome(Ending.ERROR, error=error)) == Applied()
    again = await books.ledger.finish(about, outcome(Ending.SUCCESS))
    assert again == Superseded(RunStatus.ERROR, attempt)
    await books.flushed()
    (message,) = books.broker.stored
    assert (message.subject, message.msg_id) == (FINISHED, f"{order.run_id}:run.finished")
    event = json.loads(message.body)
    assert event["type"] == "dev.bedplate.run.finished.v1"
    assert event["id"] == message.msg_id
    assert event["data"] == {
        "run_id": str(order.run_id),
        "thread_id": str(order.thread_id),
        "assistant_id": str(order.assistant_id),
        "graph_id": "agent",
        "status": "error",
        "attempt": attempt,
        "has_next": True,
        "is_rolled_back": False,
        "error": json.loads(error),
        "webhook": None,
    }
    assert await books.state(behind.run_id) == Run()


async def test_a_stale_attempt_changes_nothing(books: Any, outcome: Any) -> None:
    order, old = await books.running()
    await books.ledger.lose({order.run_id: old}, failures_max=3, expired_only=False)
    new = await books.claim(order)
    before = await books.run(order.run_id), await books.thread(order.thread_id)
    for ending in Ending:
        closed = await books.ledger.finish(books.about(order, old), outcome(ending))
        assert closed == Superseded(RunStatus.RUNNING, new)
    assert await books.ledger.release({order.run_id: old}) == 0
    assert await books.ledger.lose({order.run_id: old}, failures_max=3, expired_only=False) == []
    renewed = await books.ledger.renew({order.run_id: old}, lease_s=60)
    assert (renewed.held, renewed.superseded) == ({}, {order.run_id})
    after = await books.run(order.run_id), await books.thread(order.thread_id)
    assert after == before


async def test_the_end_of_a_run_that_is_gone_is_missing(books: Any, outcome: Any) -> None:
    order, attempt = await books.running()
    await books.threads.delete([order.thread_id], tenant="default")
    for ending in (Ending.SUCCESS, Ending.ROLLED_BACK):
        assert await books.ledger.finish(books.about(order, attempt), outcome(ending)) == Missing()


async def test_a_rolled_back_run_is_gone_and_the_thread_shows_the_state_before(
    books: Any, outcome: Any
) -> None:
    order, attempt = await books.running()
    ending = outcome(Ending.ROLLED_BACK, values=None, thread_status=ThreadStatus.IDLE, events_n=5)
    assert await books.ledger.finish(books.about(order, attempt), ending) == Applied()
    assert await books.run(order.run_id) is None
    thread = await books.thread(order.thread_id)
    assert (thread["status"], thread["values"], thread["events_n"]) == ("idle", None, 5)
    await books.flushed()
    (message,) = books.broker.stored
    data = json.loads(message.body)["data"]
    assert (data["is_rolled_back"], data["status"]) == (True, "interrupted")


async def test_a_cancel_request_reaches_the_next_attempt_too(books: Any) -> None:
    order, attempt = await books.running()
    await books.admissions.cancel(
        order.run_id, order.thread_id, tenant="default", action=CancelAction.ROLLBACK
    )
    await books.ledger.lose({order.run_id: attempt}, failures_max=3, expired_only=False)
    (claimed,) = await books.ledger.claim([order.run_id], by="x", lease_s=60)
    assert claimed.cancel is CancelAction.ROLLBACK


async def test_a_run_that_is_not_there_cannot_be_cancelled(books: Any) -> None:
    order, _ = await books.running()
    for run_id, thread_id, tenant in (
        (uuid4(), order.thread_id, "default"),
        (order.run_id, uuid4(), "default"),
        (order.run_id, order.thread_id, "other"),
    ):
        with pytest.raises(NotFound):
            await books.admissions.cancel(
                run_id, thread_id, tenant=tenant, action=CancelAction.ROLLBACK
            )


async def test_cancelling_the_waiting_head_lets_the_next_one_go(books: Any) -> None:
    head = await books.create()
    behind = await books.create(head.thread_id)
    await books.admissions.cancel(
        head.run_id, head.thread_id, tenant="default", action=CancelAction.INTERRUPT
    )
    assert await books.dispatch.find_undispatched(limit=5) == [head.thread_id]
    assert await books.dispatch.dispatch_next(head.thread_id)
    assert await books.ledger.claim([head.run_id], by="x", lease_s=60) == []
    assert await books.claim(behind) == 1


async def test_cancel_and_claim_at_once_agree(books: Any) -> None:
    for _ in range(30):
        order = await books.create()
        claimed, answer = await asyncio.gather(
            books.ledger.claim([order.run_id], by="x", lease_s=60),
            books.admissions.cancel(
                order.run_id, order.thread_id, tenant="default", action=CancelAction.INTERRUPT
            ),
        )
        state = await books.state(order.run_id)
        if claimed:
            assert state == Run(RunStatus.RUNNING, 1, cancel=CancelAction.INTERRUPT)
            assert answer.became == state
        else:
            assert state == answer.became == Run(RunStatus.INTERRUPTED)
        await books.assert_consistent(order.thread_id)


async def test_of_many_claims_at_once_one_wins(books: Any) -> None:
    for _ in range(20):
        order = await books.create()
        claims = await asyncio.gather(
            *[books.ledger.claim([order.run_id], by=f"x{i}", lease_s=60) for i in range(6)]
        )
        assert sum(len(claimed) for claimed in claims) == 1
        assert await books.state(order.run_id) == Run(RunStatus.RUNNING, 1)


async def test_lost_tickets_are_issued_again_only_for_runs_that_wait_for_theirs(
    books: Any,
) -> None:
    waiting = await books.create()
    await books.create(waiting.thread_id)
    await books.running()
    await books.flushed()
    books.broker.stored.clear()
    assert await books.dispatch.reissue_tickets(older_than_s=60, limit=10) == 0
    assert await books.dispatch.reissue_tickets(older_than_s=0, limit=10) == 1
    await books.flushed()
    (ticket,) = books.broker.stored
    assert (ticket.msg_id, ticket.subject) == (f"{waiting.run_id}:2", TICKETS)
    assert json.loads(ticket.body)["ticket"] == 2
    assert await books.claim(waiting) == 1


async def test_a_run_that_is_over_can_be_forgotten(books: Any, outcome: Any) -> None:
    order, attempt = await books.running()
    assert not await books.ledger.forget(order.run_id)
    await books.ledger.finish(books.about(order, attempt), outcome())
    assert await books.ledger.forget(order.run_id)
    assert not await books.ledger.forget(order.run_id)
    await books.assert_consistent(order.thread_id)


async def test_a_temporary_thread_goes_when_its_last_run_has_ended(
    books: Any, outcome: Any
) -> None:
    order, attempt = await books.running(is_temporary=True, deletes_thread=True)
    behind = await books.create(order.thread_id)
    await books.ledger.finish(books.about(order, attempt), outcome())
    assert (await books.thread(order.thread_id))["doomed_at"] is None
    await books.dispatch.dispatch_next(order.thread_id)
    attempt = await books.claim(behind)
    await books.ledger.finish(books.about(behind, attempt), outcome())
    assert (await books.thread(order.thread_id))["doomed_at"] is not None
    assert await books.threads.sweep_doomed(older_than_s=60, limit=10) == 0
    assert await eventually(
        lambda: books.threads.sweep_doomed(older_than_s=0, limit=10), equals=1, within_s=5
    )
    assert await books.thread(order.thread_id) is None
    assert await books.run(order.run_id) is None


@pytest.mark.parametrize("is_exhausted", [False, True])
async def test_a_temporary_thread_goes_also_when_its_run_is_cancelled_or_lost(
    books: Any, is_exhausted: bool
) -> None:
    order = await books.create(is_temporary=True, deletes_thread=True)
    if is_exhausted:
        attempt = await books.claim(order)
        await books.ledger.lose({order.run_id: attempt}, failures_max=1, expired_only=False)
    else:
        await books.admissions.cancel(
            order.run_id, order.thread_id, tenant="default", action=CancelAction.ROLLBACK
        )
    assert (await books.thread(order.thread_id))["doomed_at"] is not None


async def test_a_kept_temporary_thread_stays(books: Any, outcome: Any) -> None:
    order, attempt = await books.running(is_temporary=True, deletes_thread=False)
    await books.ledger.finish(books.about(order, attempt), outcome())
    assert (await books.thread(order.thread_id))["doomed_at"] is None
