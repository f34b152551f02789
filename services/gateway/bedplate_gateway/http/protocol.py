"""The event-streaming protocol over HTTP and websockets (contract streaming.md 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID, uuid4

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from bedplate.chassis.log import bound, get_logger
from bedplate.chassis.tasks import Tasks
from bedplate.kernel.errors import BedplateError, Refused

from .. import shapes
from ..access import rules
from ..access.access import Foreign
from ..checking import checked
from ..errors import Denied, Unprocessable
from ..following import Pause
from ..ids import uuid_or_none
from ..json_text import parsed
from ..protocol.answers import Code, Failed, command_of, failure, success
from ..protocol.channels import Subscription, View
from ..protocol.commands import Commands, Sender
from ..protocol.sockets import Socket
from ..protocol.thread_events import OpenThread, ThreadEvents
from ..sse import HEARTBEAT
from ..stream import CutOff, Flow
from .answers import EVENT_STREAM, STREAM_HEADERS, FlowResponse, json_answer
from .body import body_of, path_id
from .door import access_of
from .errors import status_of
from .middleware import headers_of
from .paths import SERVER_SENT, Path, Query, SocketPath

log = get_logger()

TAG = "Event streaming"
EVENTS = "/threads/{thread_id}/stream/events"
_SEQ_MAX = 2**63 - 1
# 4000 plus what HTTP would have answered: a browser cannot read the status of a refused upgrade.
_MALFORMED = 4422
_RESTARTING = 1012
_FAILED = 1011


class ProtocolPaths:
    """One method per path; no path at all where it is not served."""

    def __init__(
        self,
        commands: Commands,
        events: ThreadEvents,
        abandoned: Tasks,
        *,
        subscriptions_max: int,
        is_served: bool = True,
    ) -> None:
        self._is_served = is_served
        self._commands = commands
        self._events = events
        self._abandoned = abandoned
        self._subscriptions_max = subscriptions_max

    async def command(self, request: Request) -> Response:
        """200 also for commands that fail: only what is no command is the request's fault."""
        thread_id = path_id(request, "thread_id")
        try:
            command = command_of(await body_of(request))
        except Refused as error:
            if status_of(error) == 413:
                raise
            return json_answer(failure(None, "invalid_argument", error.message), status=400)
        try:
            sender = _sender(request, thread_id, request.scope["request_id"])
            result = await self._commands.carry_out(command, sender)
        except (Foreign, Denied):
            raise
        except Failed as error:
            return json_answer(failure(command.id, error.code, error.message, **error.more))
        except BedplateError as error:
            return json_answer(failure(command.id, *_code_of(error)))
        return json_answer(success(command, result, seq=0))

    async def events(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        try:
            subscription = checked(Subscription, parsed(await body_of(request)))
        except Unprocessable as error:
            raise Refused(error.message) from error
        since = max(subscription.since or 0, _last_seen(request))
        confirm = access_of(request).confirmation(thread_id)
        opened = await self._events.open(thread_id, after_n=since, confirm=confirm)
        flow = Flow(chunks=_frames(opened, View(subscription)), close=opened.close)
        return FlowResponse(flow, self._abandoned, media_type=EVENT_STREAM, headers=STREAM_HEADERS)

    async def socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        thread_id = uuid_or_none(websocket.path_params["thread_id"])
        if thread_id is None:
            text = "Invalid thread ID: must be a UUID"
            await _closed(websocket, failure(None, "invalid_argument", text), _MALFORMED)
            return

        async def send(text: bytes) -> None:
            await websocket.send_text(text.decode())

        request_id = str(uuid4())
        socket = Socket(
            _sender(websocket, thread_id, request_id),
            self._events,
            self._commands,
            send,
            _code_of,
            subscriptions_max=self._subscriptions_max,
        )
        with bound(request_id=request_id):
            try:
                await _served(websocket, socket)
            finally:
                await socket.close()

    def table(self) -> list[Path]:
        if not self._is_served:
            return []
        return [
            Path(
                "POST", "/threads/{thread_id}/commands", self.command,
                "A command: run.start, input.respond or agent.getTree. 200 also when it fails.",
                TAG,
                rule=rules.SIGNED_IN, body=shapes.Command, answer=shapes.CommandAnswer,
                refusal=shapes.CommandAnswer,
                errors=(400, 413, 422),
            ),
            Path(
                "POST", EVENTS, self.events,
                "A thread's events, stored ones first; it never ends. Also as a websocket.", TAG,
                rule=rules.THREADS_READ.or_new,
                body=Subscription, answer=SERVER_SENT, media="text/event-stream",
                query=(Query("Last-Event-ID", {"type": "integer"}, "The same as `since`.",
                             place="header"),),
                errors=(400, 413, 422, 503),
            ),
        ]  # fmt: skip

    def sockets(self) -> list[SocketPath]:
        if not self._is_served:
            return []
        return [SocketPath(EVENTS, self.socket, rule=rules.THREADS_READ.or_new)]


def _sender(connection: HTTPConnection, thread_id: UUID, request_id: str) -> Sender:
    return Sender(thread_id, request_id, access_of(connection), headers_of(connection))


async def _frames(opened: OpenThread, view: View) -> AsyncGenerator[bytes]:
    try:
        async for chunk in _chunks(opened, view):
            yield chunk
    except Foreign:
        # It was made by somebody else after this stream was opened: there is nothing to come for.
        return


async def _chunks(opened: OpenThread, view: View) -> AsyncGenerator[bytes]:
    async for envelopes in opened.stored():
        if chunk := b"".join(each.frame for each in envelopes if view.shows(each)):
            yield chunk
            opened.spoke()
    async for part in opened.parts():
        if part is Pause.CLOSED:
            # A stream that ends looks whole to a client: only one that breaks is opened again.
            raise CutOff
        if isinstance(part, Pause):
            chunk = HEARTBEAT
        else:
            chunk = b"".join(each.frame for each in part if view.shows(each))
        if chunk:
            yield chunk
            opened.spoke()


async def _served(websocket: WebSocket, socket: Socket) -> None:
    """Until the client leaves, or this process stops."""
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(websocket, socket))
        pumping = group.create_task(_pumped(websocket, socket))
        await asyncio.wait((reading, pumping), return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        pumping.cancel()


async def _read(websocket: WebSocket, socket: Socket) -> None:
    try:
        while (message := await websocket.receive())["type"] == "websocket.receive":
            text: str | None = message.get("text")
            await socket.take(message["bytes"] if text is None else text.encode())
    except (WebSocketDisconnect, RuntimeError):
        return
    except Exception:
        log.exception("socket.failed")
        await _closed(websocket, failure(None, "unknown_error", "Internal Server Error"), _FAILED)


async def _pumped(websocket: WebSocket, socket: Socket) -> None:
    try:
        await socket.pump()
        await websocket.close(_RESTARTING)
    except (WebSocketDisconnect, RuntimeError):
        return
    except BedplateError as error:
        log.warning("socket.cut", why=error.message)
        await _closed(websocket, failure(None, *_code_of(error)), _FAILED)
    except Exception:
        log.exception("socket.failed")
        await _closed(websocket, failure(None, "unknown_error", "Internal Server Error"), _FAILED)


async def _closed(websocket: WebSocket, last: bytes, code: int) -> None:
    """Say why, then close."""
    try:
        await websocket.send_text(last.decode())
        await websocket.close(code)
    except (WebSocketDisconnect, RuntimeError):
        return


def _code_of(error: BedplateError) -> tuple[Code, str]:
    """What HTTP would have answered."""
    if isinstance(error, Denied):
        return "permission_denied", error.message
    return "unknown_error", f"{status_of(error) or 500}: {error.message}"


def _last_seen(request: Request) -> int:
    text = request.headers.get("last-event-id", "0")
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= _SEQ_MAX):
        raise Refused("Last-Event-ID: must be the seq of an event")
    return int(text)
