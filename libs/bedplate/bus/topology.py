"""Streams and durable consumers as `bedplate_proto.streams` says: the only place that declares
them.

Declaring is idempotent; a stream that exists is brought to what is written there, its messages
stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nats.errors
import structlog
from nats.js import api
from nats.js.errors import APIError, NotFoundError

from bedplate.kernel.errors import Refused, Unavailable
from bedplate_proto.streams import CONSUMERS, RUN_EVENTS, STREAMS, Consumer, Stream, installed_name
from bedplate_proto.subjects import DEFAULT_PREFIX, VERSION

from .broker import Bus

log = structlog.get_logger()


async def declare(
    url: str,
    *,
    prefix: str = DEFAULT_PREFIX,
    replicas: int = 1,
    events_s: float = RUN_EVENTS.age_s_max,
) -> None:
    """Connect, declare everything, and leave. Raises `Unavailable`, `Refused` with the server's
    reason."""
    bus = await Bus.connect(url, name="bedplate-topology", prefix=prefix)
    try:
        await declare_on(bus, replicas=replicas, events_s=events_s)
    finally:
        await bus.close()


async def declare_on(
    bus: Bus, *, replicas: int = 1, events_s: float = RUN_EVENTS.age_s_max
) -> None:
    """The same on a connection that is there, for the relay after the broker lost its data."""
    context = bus.client.jetstream(timeout=10.0)
    for stream in (
        replace(one, age_s_max=events_s) if one is RUN_EVENTS else one for one in STREAMS
    ):
        config = _stream_config(stream, bus.prefix, replicas)
        try:
            try:
                await context.add_stream(config)
            except APIError as error:
                if error.err_code != 10058:  # the name is in use with another configuration
                    raise
                await context.update_stream(config)
        except APIError as error:
            raise Refused(f"stream {stream.name}: {error.description}") from error
    for consumer in CONSUMERS:
        await _declare_consumer(context, consumer, bus.prefix)


async def missing_streams(bus: Bus) -> list[str]:
    """Which of our streams the broker does not have. Raises `Unavailable`."""
    context = bus.client.jetstream(timeout=5.0)
    missing: list[str] = []
    for stream in STREAMS:
        name = installed_name(stream.name, bus.prefix)
        try:
            await context.stream_info(name)
        except NotFoundError:
            missing.append(name)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise Unavailable(f"JetStream does not answer: {type(error).__name__}") from error
    return missing


async def _declare_consumer(context: Any, consumer: Consumer, prefix: str) -> None:
    config = api.ConsumerConfig(
        durable_name=consumer.name,
        filter_subject=f"{prefix}.{VERSION}.{consumer.filter}",
        deliver_policy=api.DeliverPolicy.ALL,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=consumer.ack_wait_s,
        max_ack_pending=consumer.ack_pending_max,
        max_deliver=consumer.deliver_max,
        max_waiting=4096,
    )
    try:
        await context.add_consumer(installed_name(consumer.stream, prefix), config)
    except APIError as error:
        raise Refused(f"consumer {consumer.name}: {error.description}") from error


def _stream_config(stream: Stream, prefix: str, replicas: int) -> api.StreamConfig:
    root = f"{prefix}.{VERSION}."
    republish = None
    if stream.republish is not None:
        source, destination = stream.republish
        republish = api.RePublish(src=root + source, dest=root + destination)
    return api.StreamConfig(
        name=installed_name(stream.name, prefix),
        description=stream.description,
        subjects=[root + subject for subject in stream.subjects],
        retention=api.RetentionPolicy(stream.retention),
        discard=api.DiscardPolicy(stream.discard),
        max_age=stream.age_s_max,
        max_bytes=stream.bytes_max,
        max_msgs_per_subject=stream.messages_per_subject_max,
        duplicate_window=stream.duplicate_window_s,
        allow_direct=stream.allow_direct,
        storage=api.StorageType.FILE,
        num_replicas=replicas,
        republish=republish,
    )
