"""A fact is heard until it was handled; what nobody can handle lands in DEAD with its reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from nats.js import api

from bedplate.bus.broker import Bus
from bedplate.bus.serving import Listen
from bedplate.devstack.servers import Servers
from bedplate.kernel.errors import Refused, Unavailable
from bedplate.testing.eventually import eventually
from bedplate_proto import subjects
from bedplate_proto.envelope import cloud_event
from bedplate_proto.runs import RunFinished
from bedplate_proto.streams import Consumer
from bedplate_proto.vocabulary import RunStatus

SUBJECT = subjects.RUN_FINISHED.at(subjects.DEFAULT_PREFIX, tenant="default")
DELIVER_MAX = 3


def finished(run_id: UUID | None = None) -> RunFinished:
    return RunFinished(
        run_id=run_id or uuid4(),
        thread_id=uuid4(),
        assistant_id=uuid4(),
        graph_id="agent",
        status=RunStatus.SUCCESS,
        attempt=1,
        has_next=False,
        is_rolled_back=False,
        error=None,
        webhook=None,
    )


async def tell(bus: Bus, fact: RunFinished) -> None:
    event_id = f"{fact.run_id}:run.finished"
    event = cloud_event(
        fact, event_id=event_id, tenant="default", source="/test", at=datetime.now(UTC)
    )
    await bus.publish(SUBJECT, event.model_dump_json().encode(), msg_id=event_id)


@pytest.fixture
async def consumer(bus: Bus) -> AsyncIterator[Consumer]:
    """A durable of this test alone, that has seen nothing yet."""
    consumer = Consumer(
        stream="LIFECYCLE",
        name=f"probe-{uuid4().hex}",
        filter="lc.*.run.finished",
        ack_wait_s=2.0,
        ack_pending_max=100,
        deliver_max=DELIVER_MAX,
    )
    context = bus.client.jetstream(timeout=5)
    await context.add_consumer(
        "LIFECYCLE",
        api.ConsumerConfig(
            durable_name=consumer.name,
            filter_subject=f"bedplate.v1.{consumer.filter}",
            deliver_policy=api.DeliverPolicy.NEW,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=consumer.ack_wait_s,
            max_ack_pending=consumer.ack_pending_max,
            max_deliver=consumer.deliver_max,
        ),
    )
    yield consumer
    await context.delete_consumer("LIFECYCLE", consumer.name)


async def unacknowledged(bus: Bus, consumer: Consumer) -> int:
    info = await bus.client.jetstream(timeout=5).consumer_info("LIFECYCLE", consumer.name)
    return (info.num_ack_pending or 0) + (info.num_pending or 0)


async def letters(bus: Bus, about: str) -> list[dict[str, Any]]:
    """What lies in DEAD about a run, or any text."""
    context = bus.client.jetstream(timeout=5)
    state = (await context.stream_info("DEAD")).state
    found: list[dict[str, Any]] = []
    for sequence in range(max(1, state.first_seq), state.last_seq + 1):
        message = await context.get_msg("DEAD", sequence)
        assert message.data is not None
        letter = json.loads(message.data)
        if about in letter["body"]:
            found.append(letter | {"to": message.subject})
    return found


async def test_a_fact_is_heard_once_when_it_was_handled(
    bus: Bus, serve: Any, consumer: Consumer
) -> None:
    heard: list[RunFinished] = []

    async def listen(fact: RunFinished) -> None:
        heard.append(fact)

    await serve(Listen(subjects.RUN_FINISHED, consumer, listen, workers=4))
    facts = [finished() for _ in range(10)]
    for fact in facts:
        # Told twice, as a relay does that did not see its acknowledgement.
        await tell(bus, fact)
        await tell(bus, fact)
    await eventually(lambda: len(heard), equals=10, within_s=10)
    await eventually(lambda: unacknowledged(bus, consumer), equals=0, within_s=10)
    assert sorted(map(repr, heard)) == sorted(map(repr, facts))


async def test_a_fact_that_cannot_be_handled_now_comes_back_after_a_while(
    bus: Bus, serve: Any, consumer: Consumer
) -> None:
    for error in (Unavailable(), ConnectionResetError(), LookupError()):
        at: list[float] = []
        fact = finished()

        async def listen(
            told: RunFinished,
            at: list[float] = at,
            error: Exception = error,
            fact: RunFinished = fact,
        ) -> None:
            if told == fact:
                at.append(asyncio.get_running_loop().time())
                if len(at) == 1:
                    raise error

        served = await serve(Listen(subjects.RUN_FINISHED, consumer, listen, workers=1))
        await tell(bus, fact)
        await eventually(lambda at=at: len(at), equals=2, within_s=10)
        assert at[1] - at[0] >= 0.09
        await eventually(lambda: unacknowledged(bus, consumer), equals=0, within_s=10)
        await served.stop()
        assert await letters(bus, str(fact.run_id)) == []


async def test_a_refused_fact_is_buried_at_once_with_its_reason(
    bus: Bus, serve: Any, consumer: Consumer
) -> None:
    heard: list[RunFinished] = []

    async def listen(fact: RunFinished) -> None:
        heard.append(fact)
        raise Refused("no such graph any more")

    await serve(Listen(subjects.RUN_FINISHED, consumer, listen, workers=1), service="grave")
    fact = finished()
    await tell(bus, fact)
    (letter,) = await eventually(lambda: letters(bus, str(fact.run_id)), within_s=10)
    assert letter["reason"] == "no such graph any more"
    assert letter["to"] == "bedplate.v1.dead.grave.fact"
    assert letter["subject"] == SUBJECT
    assert json.loads(letter["body"])["data"]["run_id"] == str(fact.run_id)
    await eventually(lambda: unacknowledged(bus, consumer), equals=0, within_s=10)
    assert heard == [fact]


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'{"specversion":"1.0"}', b"\xff\xfe"])
async def test_a_malformed_fact_is_buried_and_the_next_one_heard(
    bus: Bus, serve: Any, consumer: Consumer, body: bytes
) -> None:
    heard: list[RunFinished] = []

    async def listen(fact: RunFinished) -> None:
        heard.append(fact)

    before = (await bus.client.jetstream(timeout=5).stream_info("DEAD")).state.messages
    await serve(Listen(subjects.RUN_FINISHED, consumer, listen, workers=1))
    await bus.publish(SUBJECT, body, msg_id=uuid4().hex)
    fact = finished()
    await tell(bus, fact)
    await eventually(lambda: heard, equals=[fact], within_s=10)

    async def buried() -> int:
        return (await bus.client.jetstream(timeout=5).stream_info("DEAD")).state.messages - before

    await eventually(buried, equals=1, within_s=10)
    await eventually(lambda: unacknowledged(bus, consumer), equals=0, within_s=10)


async def test_a_fact_that_always_fails_is_buried_after_its_last_delivery(
    bus: Bus, serve: Any, consumer: Consumer
) -> None:
    heard = 0

    async def listen(fact: RunFinished) -> None:
        nonlocal heard
        del fact
        heard += 1
        raise LookupError("always")

    await serve(Listen(subjects.RUN_FINISHED, consumer, listen, workers=1))
    fact = finished()
    await tell(bus, fact)
    (letter,) = await eventually(lambda: letters(bus, str(fact.run_id)), within_s=20)
    assert letter["reason"] == "LookupError: always"
    assert heard == DELIVER_MAX
    await eventually(lambda: unacknowledged(bus, consumer), equals=0, within_s=10)


async def test_a_fact_whose_listener_stopped_in_the_middle_is_heard_by_the_next_one(
    bus: Bus, serve: Any, consumer: Consumer
) -> None:
    begun = asyncio.Event()
    heard: list[RunFinished] = []

    async def hang(fact: RunFinished) -> None:
        del fact
        begun.set()
        raise asyncio.CancelledError

    async def listen(fact: RunFinished) -> None:
        heard.append(fact)

    first = await serve(Listen(subjects.RUN_FINISHED, consumer, hang, workers=1))
    fact = finished()
    await tell(bus, fact)
    await begun.wait()
    await first.stop()
    await serve(Listen(subjects.RUN_FINISHED, consumer, listen, workers=1))
    await eventually(lambda: heard, equals=[fact], within_s=10)


async def test_facts_are_heard_again_after_the_broker_was_killed(
    bus: Bus, serve: Any, servers: Servers, consumer: Consumer
) -> None:
    heard: set[UUID] = set()

    async def listen(fact: RunFinished) -> None:
        heard.add(fact.run_id)

    await serve(Listen(subjects.RUN_FINISHED, consumer, listen, workers=32))
    before, after = finished(), finished()
    await tell(bus, before)
    await eventually(lambda: before.run_id in heard, within_s=20)
    await asyncio.to_thread(servers.restart, "nats", hard=True)

    async def told() -> bool:
        await tell(bus, after)
        return True

    await eventually(told, within_s=20)
    await eventually(lambda: after.run_id in heard, within_s=20)
