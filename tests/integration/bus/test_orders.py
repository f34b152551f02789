"""An order reaches one server, and its answer or its error comes back as it was."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from bedplate.bus.broker import Bus, TooOld
from bedplate.bus.serving import Hint, Order
from bedplate.devstack.servers import Servers
from bedplate.kernel.errors import (
    BedplateError,
    Conflict,
    Fenced,
    NotFound,
    Refused,
    TooLarge,
    Unavailable,
)
from bedplate.testing.eventually import eventually
from bedplate_proto import subjects
from bedplate_proto.envelope import MESSAGE_BYTES_MAX
from bedplate_proto.runs import CancelAnswer, CancelRun, RunSignal
from bedplate_proto.threads import CopyThread, DeleteThread
from bedplate_proto.vocabulary import CancelAction

DELETE = DeleteThread(tenant="default", thread_id=uuid4())


class Busy(Conflict):
    """The thing is busy."""


async def test_a_model_goes_there_and_a_model_comes_back(bus: Bus, serve: Any) -> None:
    asked: list[CancelRun] = []

    async def cancel(order: CancelRun) -> CancelAnswer:
        asked.append(order)
        return CancelAnswer(outcome="stopping")

    await serve(Order(subjects.CANCEL_RUN, cancel))
    order = CancelRun(
        tenant="default", thread_id=uuid4(), run_id=uuid4(), action=CancelAction.ROLLBACK
    )
    answer = await bus.order(subjects.CANCEL_RUN, order)
    assert CancelAnswer.model_validate_json(answer) == CancelAnswer(outcome="stopping")
    assert asked == [order]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(b'{"a":1}', b'{"a":1}'), ('{"b":"ä"}', '{"b":"ä"}'.encode()), (None, b"{}"), (b"", b"")],
)
async def test_json_text_comes_back_as_it_is(
    bus: Bus, serve: Any, answer: Any, expected: bytes
) -> None:
    async def delete(order: DeleteThread) -> Any:
        del order
        return answer

    await serve(Order(subjects.DELETE_THREAD, delete))
    assert await bus.order(subjects.DELETE_THREAD, DELETE) == expected


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (Refused("mend it", field="x"), Refused, "mend it"),
        (TooLarge("too much", limit=3), TooLarge, "too much"),
        (NotFound(), NotFound, "There is no such thing, or it is not yours."),
        (Conflict("busy", thread_id="t"), Conflict, "busy"),
        (Busy(), Conflict, "The thing is busy."),
        (TooOld(), Refused, "The NATS server is too old."),
        (Unavailable("later", retry_s=7.5, server="x"), Unavailable, "later"),
        (ConnectionRefusedError(), Unavailable, "not available now: ConnectionRefusedError"),
        (LookupError("a secret"), BedplateError, "internal error: LookupError"),
        (Fenced(), BedplateError, "internal error: Fenced"),
    ],
)
async def test_what_a_verb_raises_is_raised_where_it_was_asked(
    bus: Bus, serve: Any, raised: Exception, kind: type[BedplateError], message: str
) -> None:
    async def delete(order: DeleteThread) -> None:
        raise raised

    await serve(Order(subjects.DELETE_THREAD, delete))
    with pytest.raises(kind) as caught:
        await bus.order(subjects.DELETE_THREAD, DELETE)
    assert type(caught.value) is kind
    assert caught.value.message == message
    if isinstance(raised, BedplateError) and kind is not BedplateError:
        assert caught.value.ids == raised.ids
    if isinstance(raised, Unavailable) and isinstance(caught.value, Unavailable):
        assert caught.value.retry_s == raised.retry_s


async def test_what_the_service_calls_transient_is_worth_another_try(bus: Bus, serve: Any) -> None:
    class DriverError(Exception):
        pass

    async def delete(order: DeleteThread) -> None:
        raise DriverError

    await serve(Order(subjects.DELETE_THREAD, delete), transient=(DriverError,))
    with pytest.raises(Unavailable, match="DriverError"):
        await bus.order(subjects.DELETE_THREAD, DELETE)


async def test_a_malformed_order_is_refused_with_the_fields_name(bus: Bus, serve: Any) -> None:
    async def copy(order: CopyThread) -> None:
        raise AssertionError(order)

    await serve(Order(subjects.COPY_THREAD, copy))
    with pytest.raises(Refused, match="copy_id: Field required"):
        await bus.order(subjects.COPY_THREAD, DELETE)


async def test_nobody_there_is_unavailable_at_once(bus: Bus) -> None:
    async with asyncio.timeout(2):
        with pytest.raises(Unavailable, match="no run-scheduler is running"):
            await bus.order(subjects.DELETE_THREAD, DELETE)


async def test_no_answer_in_time_is_unavailable(bus: Bus, serve: Any) -> None:
    is_over = asyncio.Event()

    async def delete(order: DeleteThread) -> None:
        await is_over.wait()

    await serve(Order(subjects.DELETE_THREAD, delete))
    with pytest.raises(Unavailable, match=r"the run-scheduler did not answer in 0\.1 s"):
        await bus.order(subjects.DELETE_THREAD, DELETE, limit_s=0.1)
    is_over.set()


async def test_large_bodies_travel_as_parcels_both_ways(bus: Bus, serve: Any) -> None:
    text = '"' + "x" * (3 * MESSAGE_BYTES_MAX) + '"'

    async def copy(order: CopyThread) -> str:
        return order.metadata

    await serve(Order(subjects.COPY_THREAD, copy))
    for size in (len(text), MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX - 200, 2):
        metadata = text[: size - 1] + '"'
        order = CopyThread(tenant="default", thread_id=uuid4(), copy_id=uuid4(), metadata=metadata)
        assert await bus.order(subjects.COPY_THREAD, order) == metadata.encode()


async def test_without_a_carrier_a_large_order_is_refused_with_the_limit(
    servers: Servers,
) -> None:
    text = "x" * 1_100_000
    order = CopyThread(tenant="default", thread_id=uuid4(), copy_id=uuid4(), metadata=text)
    async with Bus(servers.endpoints.nats_url, client_name="plain") as plain:
        with pytest.raises(TooLarge, match=f"{MESSAGE_BYTES_MAX}"):
            await plain.order(subjects.COPY_THREAD, order)


async def test_replicas_share_the_orders_and_all_hear_a_hint(bus: Bus, serve: Any) -> None:
    orders: list[int] = []
    hints: list[int] = []

    def replica(number: int) -> list[Order | Hint]:
        async def delete(order: DeleteThread) -> None:
            del order
            orders.append(number)

        async def signalled(signal: RunSignal) -> None:
            del signal
            hints.append(number)

        return [Order(subjects.DELETE_THREAD, delete), Hint(subjects.RUN_SIGNAL, signalled)]

    for number in range(2):
        await serve(*replica(number))
    for _ in range(40):
        await bus.order(subjects.DELETE_THREAD, DELETE)
    assert len(orders) == 40
    assert set(orders) == {0, 1}
    run_id = uuid4()
    await bus.hint(subjects.RUN_SIGNAL, RunSignal(run_id=run_id), run=run_id)
    await eventually(lambda: sorted(hints), equals=[0, 1], within_s=10)


async def test_a_hint_that_fails_or_is_malformed_stops_nothing(bus: Bus, serve: Any) -> None:
    heard: list[RunSignal] = []

    async def signalled(signal: RunSignal) -> None:
        heard.append(signal)
        raise LookupError

    await serve(Hint(subjects.RUN_SIGNAL, signalled))
    run_id = uuid4()
    subject = subjects.RUN_SIGNAL.at(bus.prefix, run=run_id)
    for body in (b"", b"{", b"[]", b"\xff"):
        await bus.client.publish(subject, body)
    for _ in range(2):
        await bus.hint(subjects.RUN_SIGNAL, RunSignal(run_id=run_id), run=run_id)
    await eventually(lambda: len(heard), equals=2, within_s=10)


async def test_orders_are_served_side_by_side(bus: Bus, serve: Any) -> None:
    """One that waits does not hold up the others."""
    arrived = asyncio.Semaphore(0)
    all_here = asyncio.Event()

    async def delete(order: DeleteThread) -> None:
        del order
        arrived.release()
        await all_here.wait()

    await serve(Order(subjects.DELETE_THREAD, delete))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(bus.order(subjects.DELETE_THREAD, DELETE))
        for _ in range(20):
            await arrived.acquire()
        all_here.set()


async def test_orders_are_served_again_after_the_broker_was_killed(
    bus: Bus, serve: Any, servers: Servers
) -> None:
    async def delete(order: DeleteThread) -> bytes:
        del order
        return b"done"

    await serve(Order(subjects.DELETE_THREAD, delete))
    reconnected = asyncio.Event()
    bus.on_reconnected.append(reconnected.set)
    assert await bus.order(subjects.DELETE_THREAD, DELETE) == b"done"
    await asyncio.to_thread(servers.kill, "nats")
    await eventually(bus.ready, equals="not connected", within_s=10)
    with pytest.raises(Unavailable):
        await bus.order(subjects.DELETE_THREAD, DELETE, limit_s=0.3)
    await asyncio.to_thread(servers.start_one, "nats")

    async def asked() -> bytes:
        return await bus.order(subjects.DELETE_THREAD, DELETE, limit_s=1)

    assert await eventually(asked, equals=b"done", within_s=20)
    assert reconnected.is_set()
    assert await bus.ready() is None


async def test_a_broker_that_is_not_there_is_unavailable_without_its_password() -> None:
    with pytest.raises(Unavailable) as caught:
        await Bus.connect("nats://someone:secret@127.0.0.1:1", name="x")
    assert "secret" not in caught.value.message
    assert "127.0.0.1:1" in caught.value.message
