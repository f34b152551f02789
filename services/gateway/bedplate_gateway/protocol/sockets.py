"""One websocket: commands in, answers and events out.

The socket has one place in the thread, from the first subscription on; every subscription sees what
comes there. A new one is first shown what is stored up to that place, and answered after that, so
that nothing is missed or told twice between the two. While it is shown the past, nothing live is
sent; the place stands still meanwhile, and holds little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import uuid4

from pydantic import Field

from bedplate.kernel.errors import BedplateError, Refused

from ..following import Pause
from ..forms import Form, Object
from .answers import Code, Command, Failed, command_of, failure, success
from .channels import Seq, Subscription, View
from .commands import Commands, Sender, form_of
from .thread_events import OpenThread, ThreadEvents

Send = Callable[[bytes], Awaitable[None]]
CodeOf = Callable[[BedplateError], tuple[Code, str]]


class Unsubscribe(Form):
    subscription_id: Annotated[str, Field(min_length=1)]


class Reconnect(Subscription):
    """`since` is what the client has seen last."""

    since: Seq  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    subscription_id: Annotated[str, Field(max_length=200)] | None = None


class Socket:
    """`take` each frame, one after another; `pump` beside it; `close` in any case."""

    def __init__(
        self,
        sender: Sender,
        events: ThreadEvents,
        commands: Commands,
        send: Send,
        code_of: CodeOf,
        *,
        subscriptions_max: int,
    ) -> None:
        self._sender = sender
        self._thread_id = sender.thread_id
        self._events = events
        self._commands = commands
        self._send = send
        self._code_of = code_of
        self._subscriptions_max = subscriptions_max
        self._views: dict[str, View] = {}
        self._place: OpenThread | None = None
        self._has_place = asyncio.Event()
        self._sending = asyncio.Lock()
        self._shown_n = 0

    async def take(self, frame: bytes) -> None:
        """Carry out one frame and answer it."""
        try:
            command = command_of(frame)
        except Refused as error:
            await self._send(failure(None, "invalid_argument", error.message))
            return
        try:
            answer = await self._answered(command)
        except Failed as error:
            answer = failure(command.id, error.code, error.message, seq=self._shown_n, **error.more)
        except BedplateError as error:
            code, text = self._code_of(error)
            answer = failure(command.id, code, text, seq=self._shown_n)
        await self._send(answer)

    async def pump(self) -> None:
        """Send what comes; returns when this process stops."""
        await self._has_place.wait()
        assert self._place is not None
        async for part in self._place.parts():
            if part is Pause.CLOSED:
                return
            if isinstance(part, Pause):
                continue
            async with self._sending:
                for envelope in part:
                    if any(view.shows(envelope) for view in self._views.values()):
                        await self._send(envelope.text)
                    self._shown_n = envelope.n

    async def close(self) -> None:
        if self._place is not None:
            await self._place.close()

    async def _answered(self, command: Command) -> bytes:
        match command.method:
            case "subscription.subscribe":
                result = await self._subscribe(form_of(Subscription, command), uuid4().hex)
            case "subscription.reconnect":
                result = await self._reconnect(form_of(Reconnect, command))
            case "subscription.unsubscribe":
                gone = form_of(Unsubscribe, command).subscription_id
                if self._views.pop(gone, None) is None:
                    raise Failed("no_such_subscription", f"No such subscription: {gone[:200]}")
                result = {}
            case _:
                result = await self._commands.carry_out(command, self._sender)
        return success(command, result, seq=self._shown_n)

    async def _reconnect(self, form: Reconnect) -> Object:
        first_n = await self._events.first_n(self._thread_id)
        if form.since + 1 < first_n:
            raise Failed(
                "invalid_argument",
                f"events after {form.since} are no longer kept: subscribe without since",
                since=form.since,
                min_available_seq=first_n,
            )
        known = form.subscription_id or uuid4().hex
        self._views.pop(known, None)
        result = await self._subscribe(form, known)
        return {**result, "restored": True, "missed_events": result["replayed_events"]}

    async def _subscribe(self, form: Subscription, subscription_id: str) -> Object:
        if len(self._views) >= self._subscriptions_max:
            raise Failed(
                "invalid_argument",
                f"this connection has {self._subscriptions_max} subscriptions already",
            )
        view, replayed = View(form), 0
        after_n = form.since or 0
        async with self._sending:
            if self._place is None:
                # From the start: another subscription may want what this one has seen.
                place = self._place = await self._events.open(
                    self._thread_id,
                    after_n=0,
                    confirm=self._sender.by.confirmation(self._thread_id),
                )
                async for envelopes in place.stored():
                    for envelope in envelopes:
                        if envelope.comes_after(after_n) and view.shows(envelope):
                            replayed += 1
                            await self._send(envelope.text)
                self._shown_n = place.n
                self._has_place.set()
            else:
                async for envelope in self._events.replayed(
                    self._thread_id, after_n=after_n, up_to_n=self._shown_n
                ):
                    if view.shows(envelope):
                        replayed += 1
                        await self._send(envelope.text)
            self._views[subscription_id] = view
        return {"subscription_id": subscription_id, "replayed_events": replayed}
