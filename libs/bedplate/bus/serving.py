"""Orders and facts served through FastStream: a table of subject → bound method, no handler layer.

An order's handler takes the order's model and returns bytes (JSON as it is), a model, or None. What
it raises goes back to the asker. A fact's handler takes the fact's model; what it raises decides
about redelivery: `Unavailable` and unknown exceptions come back after a growing delay, `Refused`
and a malformed body go to DEAD with their reason.

FastStream hands over one message after the other. Its own concurrency costs twice what the rest of
it does, so what runs side by side is ours: orders in tasks of a group, facts in pulled batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import nats.errors
import orjson
import structlog
from faststream import AckPolicy
from faststream.nats import ConsumerConfig, JStream, NatsBroker, NatsMessage, PullSub
from pydantic import BaseModel, ValidationError

from bedplate.kernel.errors import BedplateError, Refused, Unavailable
from bedplate.kernel.retry import retry_delay_s
from bedplate_proto.envelope import (
    ERROR_HEADER,
    MESSAGE_BYTES_MAX,
    PARCEL_HEADER,
    CloudEvent,
    Fact,
    Message,
)
from bedplate_proto.streams import Consumer
from bedplate_proto.subjects import VERSION, Kind, Subject

from .broker import Bus
from .refusals import order_error

log = structlog.get_logger()

_START_S_MAX = 5.0
# Orders under way when the service stops have this long.
_STOP_S_MAX = 10.0
_POLLED_AT_ONCE = 8

Verb = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class Order:
    """`verb` answers `subject`, `workers` orders at a time; replicas of the service share the
    work."""

    subject: Subject
    verb: Verb
    workers: int = 64


@dataclass(frozen=True)
class Poll:
    """`verb` answers `subject` in every replica."""

    subject: Subject
    verb: Verb


@dataclass(frozen=True)
class Listen:
    """`verb` hears every fact of `subject` through a durable consumer, up to `workers` pulled and
    handled together; one that takes long holds up the next ones."""

    subject: Subject
    consumer: Consumer
    verb: Verb
    workers: int


@dataclass(frozen=True)
class Hint:
    """`verb` is told each time, in every replica, or in one of them if `is_shared`; may be lost."""

    subject: Subject
    verb: Verb
    is_shared: bool = False


Route = Order | Poll | Listen | Hint


class Served:
    """A service's routes on the bus, from `start` to `stop`."""

    name = "routes"

    def __init__(
        self,
        bus: Bus,
        url: str,
        *,
        service: str,
        routes: Sequence[Route],
        transient: tuple[type[Exception], ...] = (),
    ) -> None:
        """`transient`: what a verb raises when a server it needs is away (a driver's errors); the
        asker of an order is told to try again, a fact comes back."""
        self._bus = bus
        self._transient = (OSError, TimeoutError, *transient)
        self._rng = Random()
        self._service = service
        self._answers = asyncio.TaskGroup()
        self._broker = NatsBroker(
            url.split(","),
            name=f"{service}-routes",
            apply_types=False,
            logger=None,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # pyright: ignore[reportArgumentType]
            ping_interval=10,
            graceful_timeout=_STOP_S_MAX,
            ack_policy=AckPolicy.MANUAL,
        )
        for route in routes:
            self._add(route)

    async def start(self) -> None:
        """Returns when the broker knows every subscription: from then on orders find us."""
        await self._answers.__aenter__()
        await self._broker.start()
        # A request leaves the connection behind the subscriptions, which a flush does not (facts,
        # infra.md 2.5). Nobody listens, so the broker itself answers at once.
        with suppress(nats.errors.NoRespondersError):
            await self._broker.request(b"", self._bus.client.new_inbox(), timeout=_START_S_MAX)

    async def stop(self) -> None:
        """Take nothing more, and finish what was taken, within its limit."""
        await self._broker.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S_MAX):
                await self._answers.__aexit__(None, None, None)

    async def __aenter__(self) -> Served:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _add(self, route: Route) -> None:
        prefix = self._bus.prefix
        match route:
            case Order(subject, verb, workers):
                assert subject.kind is Kind.ORDER, subject
                subscribe = self._broker.subscriber(
                    subject.everywhere(prefix),
                    queue=self._service,
                    decoder=_whole,
                    no_reply=True,
                )
                subscribe(self._answering(subject, verb, workers=workers))
            case Poll(subject, verb):
                assert subject.kind is Kind.POLL, subject
                subscribe = self._broker.subscriber(
                    subject.everywhere(prefix), decoder=_whole, no_reply=True
                )
                subscribe(self._answering(subject, verb, workers=_POLLED_AT_ONCE))
            case Hint(subject, verb, is_shared):
                subscribe = self._broker.subscriber(
                    subject.everywhere(prefix),
                    queue=self._service if is_shared else "",
                    decoder=_whole,
                    no_reply=True,
                )
                subscribe(self._hinted(subject, verb))
            case Listen(subject, consumer, verb, workers):
                assert subject.kind is Kind.FACT, subject
                subscribe = self._broker.subscriber(
                    f"{prefix}.{VERSION}.{consumer.filter}",
                    stream=JStream(self._bus.stream(consumer.stream), declare=False),
                    durable=consumer.name,
                    pull_sub=PullSub(batch_size=workers, timeout=5.0),
                    config=ConsumerConfig(
                        ack_wait=consumer.ack_wait_s,
                        max_ack_pending=consumer.ack_pending_max,
                        max_deliver=consumer.deliver_max,
                    ),
                    decoder=_whole,
                    no_reply=True,
                )
                subscribe(self._listening(subject, consumer, verb))

    def _answering(
        self, subject: Subject, verb: Verb, *, workers: int
    ) -> Callable[[NatsMessage], Awaitable[None]]:
        model = subject.message
        room = asyncio.Semaphore(workers)

        async def answer(message: NatsMessage) -> None:
            try:
                body = await self._body(message)
                reply = await self._packed(await verb(model.model_validate_json(body)))
            except Exception as error:
                told = order_error(error, transient=self._transient)
                if told.kind == "internal":
                    log.exception("order.failed", order=subject.rest)
                reply = told.model_dump_json().encode(), {ERROR_HEADER: told.kind}
            finally:
                room.release()
            await self._reply(message, *reply)

        async def take(message: NatsMessage) -> None:
            await room.acquire()
            self._answers.create_task(answer(message))

        return take

    def _hinted(self, subject: Subject, verb: Verb) -> Callable[[NatsMessage], Awaitable[None]]:
        async def hinted(message: NatsMessage) -> None:
            try:
                await verb(subject.message.model_validate_json(message.body))
            except Exception:
                log.exception("hint.failed", hint=subject.rest)

        return hinted

    def _listening(
        self, subject: Subject, consumer: Consumer, verb: Verb
    ) -> Callable[[NatsMessage], Awaitable[None]]:
        model = subject.message
        assert issubclass(model, Fact)

        async def listen(message: NatsMessage) -> None:
            try:
                event = CloudEvent.model_validate_json(message.body)
                await verb(model.model_validate(event.data))
            except (ValidationError, Refused) as error:
                await self._bury(message, error)
            except Exception as error:
                delivered = message.raw_message.metadata.num_delivered
                delay_s = max(0.1, retry_delay_s(delivered, rng=self._rng, base_s=0.5, cap_s=20.0))
                if not isinstance(error, (Unavailable, *self._transient)):
                    log.exception("fact.failed", fact=subject.rest, delivered=delivered)
                if delivered >= consumer.deliver_max > 0:
                    await self._bury(message, error)
                else:
                    await message.nack(delay=delay_s)
            else:
                await message.ack()

        return listen

    async def _bury(self, message: NatsMessage, error: Exception) -> None:
        """To DEAD with the reason, then off the consumer. If DEAD cannot take it, it comes back."""
        reason = (
            error.message
            if isinstance(error, BedplateError)
            else f"{type(error).__name__}: {error}"
        )
        subject = f"{self._bus.prefix}.{VERSION}.dead.{self._service}.fact"
        letter = {
            "subject": message.raw_message.subject,
            "reason": reason,
            "body": message.body.decode("utf-8", "replace"),
        }
        metadata = message.raw_message.metadata
        msg_id = f"{self._service}:{metadata.stream}:{metadata.sequence.stream}"
        try:
            await self._bus.publish(subject, orjson.dumps(letter), msg_id=msg_id)
        except Unavailable:
            await message.nack(delay=5.0)
            return
        log.error("fact.buried", fact=message.raw_message.subject, reason=reason)
        await message.reject()

    async def _body(self, message: NatsMessage) -> bytes:
        if PARCEL_HEADER in message.headers:
            return await self._bus.unpacked(message.raw_message)
        return message.body

    async def _packed(self, answer: Any) -> tuple[bytes, dict[str, str]]:
        if isinstance(answer, BaseModel):
            body = answer.model_dump_json().encode()
        elif isinstance(answer, bytes):
            body = answer
        elif isinstance(answer, str):
            body = answer.encode()
        else:
            assert answer is None, type(answer)
            body = b"{}"
        if len(body) <= MESSAGE_BYTES_MAX:
            return body, {}
        if self._bus.carrier is None:
            raise Refused("the answer is larger than a message may be")
        return b"", {PARCEL_HEADER: str(await self._bus.carrier.put(body))}

    async def _reply(self, message: NatsMessage, body: bytes, headers: dict[str, str]) -> None:
        """The asker repeats an order whose answer is lost."""
        if not (asker := message.raw_message.reply):
            return
        try:
            await self._bus.client.publish(
                asker, body, headers={"content-type": "application/json", **headers}
            )
        except (nats.errors.Error, OSError) as error:
            log.warning("answer.lost", why=f"{type(error).__name__}: {error}")


async def _whole(message: NatsMessage) -> NatsMessage:
    """The handler gets the message as it came: it knows its model, and decodes faster than a
    guess."""
    return message


__all__ = ["Hint", "Listen", "Message", "Order", "Poll", "Route", "Served"]
