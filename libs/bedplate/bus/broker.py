"""One connection to NATS: orders asked, messages published, hints sent. Serving is in `serving`.

Every harmful default of the client is configured away here (facts, infra.md 2.2 and 2.5): it
reconnects for ever, notices a dead link within half a minute, and never waits without a limit.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar
from uuid import UUID

import nats
import nats.errors
import orjson
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header

from bedplate.kernel.errors import Refused, TooLarge, Unavailable
from bedplate_proto.envelope import ERROR_HEADER, MESSAGE_BYTES_MAX, PARCEL_HEADER, Message
from bedplate_proto.streams import installed_name
from bedplate_proto.subjects import DEFAULT_PREFIX, Subject

from .refusals import error_from

log = structlog.get_logger()
A = TypeVar("A", bound=Message)

VERSION_MIN = (2, 12)
CONNECT_S_MAX = 5.0
ORDER_S_MAX = 5.0
PUBLISH_S_MAX = 5.0

_NOBODY_THERE = "503"


class TooOld(Refused):
    """The NATS server is too old."""


class _Client(Client):
    """The library looks at every character of every header's name, which was a tenth of what a
    gateway computes per run; live messages have five headers each."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        lines = (line.partition(b":") for line in raw.split(b"\r\n"))
        return {
            name.strip().decode("ascii", "replace"): value.strip().decode("utf-8", "replace")
            for name, colon, value in lines
            if colon
        }


class Carrier(Protocol):
    """Puts a body down and picks it up again by id (`ledger.Parcels`)."""

    async def put(self, body: bytes) -> UUID: ...
    async def get(self, parcel_id: UUID) -> bytes: ...


class Bus:
    """A client with the installation's prefix; usable inside `async with`, or between `open` and
    `close`."""

    name = "NATS"

    def __init__(
        self,
        url: str,
        *,
        client_name: str,
        prefix: str = DEFAULT_PREFIX,
        carrier: Carrier | None = None,
    ) -> None:
        self._url = url
        self._client_name = client_name
        self.client = _Client()
        self.prefix = prefix
        self.carrier = carrier
        self.on_disconnected: list[Callable[[], None]] = []
        self.on_reconnected: list[Callable[[], None]] = []

    @classmethod
    async def connect(
        cls, url: str, *, name: str, prefix: str = DEFAULT_PREFIX, carrier: Carrier | None = None
    ) -> Bus:
        """An open one."""
        bus = cls(url, client_name=name, prefix=prefix, carrier=carrier)
        await bus.open()
        return bus

    async def open(self) -> None:
        """Raises `Unavailable` when the server does not answer, `TooOld` when it is below 2.12."""
        self.client = client = _Client()

        async def disconnected() -> None:
            for told in self.on_disconnected:
                told()

        async def reconnected() -> None:
            log.warning("broker.reconnected")
            for told in self.on_reconnected:
                told()

        async def failed(error: Exception) -> None:
            log.warning("broker.failed", error=f"{type(error).__name__}: {error}")

        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await client.connect(
                    servers=self._url.split(","),
                    name=self._client_name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # pyright: ignore[reportArgumentType]
                    connect_timeout=2,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    # At start the caller decides how long to wait; afterwards the client does, for
                    # ever.
                    allow_reconnect=True,
                    disconnected_cb=disconnected,
                    reconnected_cb=reconnected,
                    error_cb=failed,
                )
        except (OSError, TimeoutError, nats.errors.Error) as error:
            await client.close()
            raise Unavailable(f"NATS cannot be reached at {_shown(self._url)}: {error}") from error
        version = _version(client)
        if version < VERSION_MIN:
            await client.close()
            raise TooOld(
                f"NATS {'.'.join(map(str, version))} is too old: 2.12 or newer is needed"
                " (direct get, strict JetStream API)"
            )

    async def close(self) -> None:
        """Send what is buffered, bounded, and leave."""
        try:
            async with asyncio.timeout(2.0):
                await self.client.flush()
        except (TimeoutError, nats.errors.Error, OSError):
            log.warning("broker.flush_skipped")
        await self.client.close()

    async def __aenter__(self) -> Bus:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ready(self) -> str | None:
        """Why the broker cannot be used now."""
        return None if self.client.is_connected else "not connected"

    def stream(self, name: str) -> str:
        return installed_name(name, self.prefix)

    async def order(
        self, subject: Subject, message: Message, *, limit_s: float = ORDER_S_MAX, **tokens: str
    ) -> bytes:
        """Ask the one who answers `subject`; the body of the answer.

        Raises what the other side raised (`Refused`, `NotFound`, `Conflict`, …), and `Unavailable`
        when nobody is there or no answer came within `limit_s`: then the order may or may not have
        been carried out.
        """
        body, headers = await self._packed(message.model_dump_json().encode())
        try:
            reply = await self.client.request(
                subject.at(self.prefix, **tokens), body, timeout=limit_s, headers=headers
            )
        except nats.errors.NoRespondersError as error:
            who = subject.consumers[0]
            raise Unavailable(f"no {who} is running", retry_s=1.0) from error
        except (TimeoutError, nats.errors.Error) as error:
            who = subject.consumers[0]
            raise Unavailable(f"the {who} did not answer in {limit_s:g} s", retry_s=1.0) from error
        answer = await self.unpacked(reply)
        if reply.headers and (kind := reply.headers.get(ERROR_HEADER)):
            raise error_from(kind, answer)
        return answer

    async def poll(self, subject: Subject, message: Message, *, within_s: float) -> list[bytes]:
        """Ask everybody; the answers that come within this time, none when nobody is there. Takes
        all of it otherwise: nobody knows how many there are. Raises `Unavailable`."""
        inbox = self.client.new_inbox()
        answers: list[bytes] = []
        try:
            asked = await self.client.subscribe(inbox)
            try:
                body = message.model_dump_json().encode()
                await self.client.publish(subject.at(self.prefix), body, reply=inbox)
                with suppress(TimeoutError):
                    async with asyncio.timeout(within_s):
                        async for reply in asked.messages:
                            told = reply.headers or {}
                            if told.get(Header.STATUS) == _NOBODY_THERE:
                                break
                            if ERROR_HEADER not in told:
                                answers.append(reply.data)
            finally:
                await asked.unsubscribe()
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"nobody can be asked: {error}", retry_s=1.0) from error
        return answers

    async def hint(self, subject: Subject, message: Message, **tokens: object) -> None:
        """Send what may be lost."""
        try:
            await self.client.publish(
                subject.at(self.prefix, **tokens), message.model_dump_json().encode()
            )
        except (nats.errors.Error, OSError) as error:
            log.debug("hint.lost", subject=subject.rest, error=str(error))

    async def publish(self, subject: str, body: bytes, *, msg_id: str) -> None:
        """Store a message; returns when the broker has it. Twice under one id counts once (dedup
        window)."""
        try:
            reply = await self.client.request(
                subject, body, timeout=PUBLISH_S_MAX, headers={"Nats-Msg-Id": msg_id}
            )
        except (TimeoutError, nats.errors.Error, OSError) as error:
            raise Unavailable(
                f"the broker did not store {subject}: {type(error).__name__}"
            ) from error
        answer = orjson.loads(reply.data)
        if "error" in answer:
            raise Unavailable(f"the broker refused {subject}: {answer['error'].get('description')}")

    async def unpacked(self, message: Any) -> bytes:
        """The body of a message or reply, fetched if it travelled by reference."""
        parcel = (message.headers or {}).get(PARCEL_HEADER)
        if parcel is None:
            return message.data
        if self.carrier is None:
            raise Refused("this process cannot fetch parcels")
        return await self.carrier.get(UUID(parcel))

    async def _packed(self, body: bytes) -> tuple[bytes, dict[str, str] | None]:
        if len(body) <= MESSAGE_BYTES_MAX:
            return body, None
        if self.carrier is None:
            raise TooLarge(
                f"{len(body)} bytes are more than the {MESSAGE_BYTES_MAX} a message may have"
            )
        return b"", {PARCEL_HEADER: str(await self.carrier.put(body))}


def _version(client: Client) -> tuple[int, ...]:
    text = str(client._server_info.get("version", "0"))  # pyright: ignore[reportPrivateUsage]
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _shown(url: str) -> str:
    """Without credentials."""
    return re.sub(r"//[^@/]*@", "//", url)


__all__ = ["Bus", "Carrier", "Msg", "TooOld"]
