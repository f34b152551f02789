"""Streams and consumers are what `bedplate_proto.streams` says, whatever was there before."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from nats.js import api

from bedplate.bus import topology
from bedplate.bus.broker import Bus
from bedplate.devstack.servers import Servers
from bedplate.kernel.errors import Unavailable
from bedplate.testing.eventually import eventually
from bedplate_proto import streams
from bedplate_proto.streams import CONSUMERS, STREAMS, installed_name


async def assert_declared(bus: Bus) -> None:
    context = bus.client.jetstream(timeout=5)
    for stream in STREAMS:
        found = (await context.stream_info(installed_name(stream.name, bus.prefix))).config
        root = f"{bus.prefix}.v1."
        assert found.subjects == [root + subject for subject in stream.subjects]
        assert found.retention == stream.retention
        assert (found.max_age, found.max_bytes) == (stream.age_s_max, stream.bytes_max)
        assert found.max_msgs_per_subject == stream.messages_per_subject_max
        assert found.duplicate_window == stream.duplicate_window_s
        assert (found.allow_direct or False) == stream.allow_direct
        assert (found.republish is not None) == (stream.republish is not None)
    for consumer in CONSUMERS:
        info = await context.consumer_info(
            installed_name(consumer.stream, bus.prefix), consumer.name
        )
        found = info.config
        assert found.ack_wait == consumer.ack_wait_s
        assert found.max_ack_pending == consumer.ack_pending_max
        assert found.max_deliver == consumer.deliver_max
        assert found.filter_subject == f"{bus.prefix}.v1.{consumer.filter}"


async def test_declaring_twice_and_at_once_is_declaring_once(bus: Bus, servers: Servers) -> None:
    url = servers.endpoints.nats_url
    await asyncio.gather(*[topology.declare(url) for _ in range(3)])
    await assert_declared(bus)
    assert await topology.missing_streams(bus) == []


async def test_what_was_declared_otherwise_is_corrected_and_keeps_its_messages(bus: Bus) -> None:
    context = bus.client.jetstream(timeout=5)
    subject = f"{bus.prefix}.v1.dead.someone.fact"
    await bus.publish(subject, b"{}", msg_id=datetime.now(UTC).isoformat())
    before = (await context.stream_info("DEAD")).state
    config = (await context.stream_info("DEAD")).config
    config.max_age, config.max_bytes, config.description = 600.0, 1_000_000, "other"
    await context.update_stream(config)
    stream, name = streams.EXECUTORS.stream, streams.EXECUTORS.name
    consumer = (await context.consumer_info(stream, name)).config
    consumer.ack_wait, consumer.max_deliver, consumer.max_ack_pending = 3.0, 4, 5
    await context.add_consumer(stream, consumer)
    await topology.declare_on(bus)
    await assert_declared(bus)
    assert (await context.stream_info("DEAD")).state.messages == before.messages


async def test_installations_with_other_prefixes_share_a_broker(bus: Bus, servers: Servers) -> None:
    url = servers.endpoints.nats_url
    async with Bus(url, client_name="other", prefix="staging") as other:
        assert await topology.missing_streams(other) == [
            f"STAGING_{stream.name}" for stream in STREAMS
        ]
        context = other.client.jetstream(timeout=5)
        try:
            await topology.declare_on(other)
            await assert_declared(other)
            subject = "staging.v1.dead.someone.fact"
            before = (await context.stream_info("DEAD")).state.messages
            await other.publish(subject, b"{}", msg_id="1")
            assert (await context.stream_info("STAGING_DEAD")).state.messages == 1
            assert (await context.stream_info("DEAD")).state.messages == before
        finally:
            for stream in STREAMS:
                await context.delete_stream(installed_name(stream.name, "staging"))
    await assert_declared(bus)


async def test_a_message_is_stored_once_under_its_id(bus: Bus) -> None:
    context = bus.client.jetstream(timeout=5)
    subject = f"{bus.prefix}.v1.dead.someone.fact"
    before = (await context.stream_info("DEAD")).state.messages
    for _ in range(3):
        await bus.publish(subject, b"{}", msg_id="the same")
    assert (await context.stream_info("DEAD")).state.messages == before + 1


async def test_a_message_that_no_stream_takes_is_unavailable(bus: Bus) -> None:
    with pytest.raises(Unavailable):
        await bus.publish(f"{bus.prefix}.v1.nowhere", b"{}", msg_id="x")


async def test_a_wiped_broker_is_declared_again(bus: Bus, servers: Servers) -> None:
    await asyncio.to_thread(servers.wipe_nats)
    await eventually(lambda: bus.client.is_connected, within_s=20)
    names = [stream.name for stream in STREAMS]
    assert await eventually(lambda: topology.missing_streams(bus), equals=names, within_s=20)
    await topology.declare_on(bus)
    await assert_declared(bus)


async def test_a_consumer_reads_what_came_before_it(bus: Bus) -> None:
    """Also one declared after the fact: a wiped broker gets its streams before its consumers."""
    context = bus.client.jetstream(timeout=5)
    info = await context.consumer_info(streams.EXECUTORS.stream, streams.EXECUTORS.name)
    assert info.config.deliver_policy == api.DeliverPolicy.ALL
