"""An executor asks for as many tickets as it has slots, no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from bedplate.bus.broker import Bus
from bedplate.bus.tickets import Tickets
from bedplate.testing.eventually import eventually
from bedplate_proto.runs import RunReady
from bedplate_proto.streams import EXECUTORS, RUN_DISPATCH

SUBJECT = "bedplate.v1.dispatch.default.normal"


@pytest.fixture
async def tickets(bus: Bus) -> AsyncIterator[Tickets]:
    """Of an executor with one slot, which is free."""
    await bus.client.jetstream().purge_stream(RUN_DISPATCH.name)
    made = Tickets(bus, free=lambda: 1)
    pulling = asyncio.create_task(made.run())
    yield made
    await made.close()
    pulling.cancel()
    await bus.client.jetstream().purge_stream(RUN_DISPATCH.name)


async def issue(bus: Bus) -> UUID:
    run_id = uuid4()
    ready = RunReady(run_id=run_id, thread_id=uuid4(), ticket=1)
    await bus.publish(SUBJECT, ready.model_dump_json().encode(), msg_id=str(run_id))
    return run_id


async def out(bus: Bus) -> int:
    """How many tickets lie with an executor."""
    info = await bus.client.jetstream().consumer_info(RUN_DISPATCH.name, EXECUTORS.name)
    return info.num_ack_pending or 0


async def test_a_slot_whose_run_is_being_claimed_is_not_asked_for(
    bus: Bus, tickets: Tickets
) -> None:
    first, second = await issue(bus), await issue(bus)
    (taken,) = await tickets.take()
    assert taken.ready.run_id == first
    # The claim is under way; whoever asks now asks too early.
    tickets.slots_changed()
    for _ in range(3):
        await asyncio.sleep(0)
        await bus.client.flush()
    assert await out(bus) == 1
    await taken.done()

    following = asyncio.create_task(tickets.take())
    (taken,) = await following
    assert taken.ready.run_id == second
    await taken.done()
    await eventually(lambda: out(bus), equals=0, within_s=10)
