"""The door: who comes in, and what each route asks before it does anything.

`Door` stands around the routes and authenticates, also for paths that lead nowhere. `Admission`
stands in front of each handler and asks for the route's rule. Neither is there where nothing is
configured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.authentication import AuthCredentials
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from bedplate.chassis.log import get_logger
from bedplate.kernel.errors import BedplateError

from ..access import rules
from ..access.access import FREE, Access, Foreign, Guarded
from ..access.callers import Caller, restored
from ..access.objects import Objects
from ..access.rules import Rule
from ..acting import ActingRuns
from ..assistants import Assistants, missing
from ..crons import CRON_MISSING
from ..errors import Denied
from ..json_text import parsed
from .body import body_of, path_id, too_large
from .errors import answer_of
from .paths import Handler, SocketHandler

if TYPE_CHECKING:
    # It imports the SDK, which only projects with authentication need.
    from ..access.configured import Configured

log = get_logger()

_CALLER, _ACCESS = "bedplate.caller", "bedplate.access"
_CONTEXT = "bedplate.encryption_context"
_STUDIO_HEADER, _STUDIO_SCHEME = "x-auth-scheme", "langsmith"
_POLICY_VIOLATION = 1008
RUN_MISSING = "Run not found."
DELIVERY_MISSING = "Delivery not found."


def access_of(connection: HTTPConnection) -> Access:
    """What the caller of this request may do."""
    return connection.scope.get(_ACCESS, FREE)


def take_context(scope: Scope, context: dict[str, Any] | None) -> None:
    """From now on what this request writes is encrypted in this context."""
    scope[_CONTEXT] = context
    scope[_ACCESS] = Access(context)


class Door:
    """Lets in who can say who it is. ASGI, around the router."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        configured: Configured,
        acting: ActingRuns,
        routes: Sequence[BaseRoute],
        is_open: Callable[[Scope], bool],
        body_bytes_max: int,
    ) -> None:
        self._app = app
        self._authentication = configured.authentication
        self._studio = configured.studio
        self._acting = acting
        self._routes = routes
        self._is_open = is_open
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        recorded = _Recorded(receive, limit=self._body_bytes_max)
        connection = HTTPConnection(scope)
        try:
            caller = await self._caller(connection, recorded)
        except BedplateError as error:
            await refuse(scope, receive, send, answer_of(error))
            return
        scope[_CALLER] = caller
        scope["user"] = caller.user
        scope["auth"] = AuthCredentials(caller.permissions)
        await self._app(scope, recorded.again if recorded.has_any else receive, send)

    async def _caller(self, connection: HTTPConnection, recorded: _Recorded) -> Caller:
        scheme = connection.headers.get(_STUDIO_HEADER)
        if self._studio is not None and scheme == _STUDIO_SCHEME:
            return self._studio
        # Code of a run that is at work: it speaks for whom the run is for.
        run = await self._acting.of(connection.headers)
        if run is not None and run.user is not None:
            return restored(run.user)

        async def present(wanted: Sequence[str]) -> Mapping[str, Any]:
            return {name: await self._value(name, connection, recorded) for name in wanted}

        return await self._authentication.caller(present, connection.headers.get)

    async def _value(self, name: str, connection: HTTPConnection, recorded: _Recorded) -> Any:
        scope = connection.scope
        match name:
            case "request":
                is_http = scope["type"] == "http"
                return Request(scope, recorded.first) if is_http else connection
            case "body":
                return await self._body(scope, recorded)
            case "user":
                return scope.get("user")
            case "scopes":
                return list(getattr(scope.get("auth"), "scopes", ()))
            case "path":
                return scope["path"]
            case "method":
                return scope.get("method", "GET")
            case "path_params":
                return self._path_params(scope)
            case "query_params":
                return dict(connection.query_params)
            case "headers":
                return dict(scope["headers"])
            case "authorization":
                return connection.headers.get("authorization")
            case _:
                return scope

    async def _body(self, scope: Scope, recorded: _Recorded) -> Any:
        if scope["type"] != "http":
            return None
        body = await body_of(Request(scope, recorded.first), limit=self._body_bytes_max)
        return parsed(body) if body.strip() else None

    def _path_params(self, scope: Scope) -> dict[str, Any]:
        for route in self._routes:
            match, found = route.matches(scope)
            if match is not Match.NONE:
                return dict(found.get("path_params", {}))
        return {}


class Admission:
    """What stands before the handlers of one app."""

    def __init__(self, configured: Configured, objects: Objects, assistants: Assistants) -> None:
        self._handlers = configured.handlers
        self._objects = objects
        self._assistants = assistants

    def of(self, rule: Rule | None, handler: Handler) -> Handler:
        if rule == rules.OPEN:
            return handler

        async def admitted(request: Request) -> Response:
            access = await self._admitted(rule, request)
            answer = await handler(request)
            self._look_back(rule, access)
            return answer

        return admitted

    def of_socket(self, rule: Rule | None, handler: SocketHandler) -> SocketHandler:
        async def admitted(websocket: WebSocket) -> None:
            try:
                await self._admitted(rule, websocket)
            except BedplateError as error:
                scope, receive, send = websocket.scope, websocket.receive, websocket.send
                await refuse(scope, receive, send, answer_of(error))
                return
            await handler(websocket)

        return admitted

    async def _admitted(self, rule: Rule | None, connection: HTTPConnection) -> Guarded:
        caller = connection.scope.get(_CALLER)
        if rule is None or not isinstance(caller, Caller):
            log.error("rule.missing", path=connection.scope["path"])
            raise Denied
        context = connection.scope.get(_CONTEXT)
        access = Guarded(self._handlers, caller, self._objects, context)
        connection.scope[_ACCESS] = access
        if not rule.is_asked_by_verb and rule != rules.SIGNED_IN:
            await self._ask(rule, access, connection)
        return access

    def _look_back(self, rule: Rule | None, access: Guarded) -> None:
        """A verb that forgot to ask has no answer to give."""
        if rule is not None and rule.is_asked_by_verb and rule.name not in access.asked:
            log.error("rule.unasked", rule=rule.name)
            raise Denied

    async def _ask(self, rule: Rule, access: Guarded, connection: HTTPConnection) -> None:
        named = connection.path_params
        if "delivery_id" in named:
            delivery_id = path_id(connection, "delivery_id")
            found = await access.to(rule, {"delivery_id": delivery_id})
            await access.object("delivery", delivery_id, found, missing=DELIVERY_MISSING)
        elif "cron_id" in named:
            cron_id = path_id(connection, "cron_id")
            found = await access.to(rule, {"cron_id": cron_id})
            await access.object("cron", cron_id, found, missing=CRON_MISSING)
        elif "assistant_id" in named:
            name = named["assistant_id"]
            assistant_id = await self._assistants.id_of(name)
            found = await access.to(rule, {"assistant_id": assistant_id})
            text = missing(name).message
            await access.object("assistant", assistant_id, found, missing=text)
        elif "thread_id" in named or "run_id" in named:
            await self._ask_of_thread(rule, access, connection)
        else:
            log.error("rule.about_nothing", rule=rule.name)
            raise Denied

    async def _ask_of_thread(self, rule: Rule, access: Guarded, connection: HTTPConnection) -> None:
        named = connection.path_params
        value: dict[str, Any] = {}
        if "run_id" in named:
            value["run_id"] = path_id(connection, "run_id")
        if "thread_id" in named:
            value["thread_id"] = path_id(connection, "thread_id")
        elif (thread_id := await self._objects.thread_of(value["run_id"])) is not None:
            value["thread_id"] = thread_id
        else:
            raise Foreign(RUN_MISSING)
        found = await access.to(rule, value)
        thread_id = value["thread_id"]
        text = RUN_MISSING if "thread_id" not in named else None
        await access.thread(thread_id, found, may_be_new=rule.may_be_new, missing=text)


class _Recorded:
    """What a request's body was seen to be while it was authenticated, for its handler again."""

    def __init__(self, receive: Receive, *, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._seen: list[Message] = []

    @property
    def has_any(self) -> bool:
        return bool(self._seen)

    async def first(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise too_large(self._limit)
        self._seen.append(message)
        return message

    async def again(self) -> Message:
        return self._seen.pop(0) if self._seen else await self._receive()


async def refuse(scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
    """Answer instead of the app; a websocket is not upgraded."""
    if scope["type"] == "http":
        await answer(scope, receive, send)
        return
    websocket = WebSocket(scope, receive, send)
    if "websocket.http.response" in scope.get("extensions", {}):
        await websocket.send_denial_response(answer)
    else:
        await websocket.close(_POLICY_VIOLATION)


def route_path(scope: Scope) -> str:
    """The path below the prefix under which the app is mounted."""
    return scope["path"].removeprefix(scope.get("root_path", ""))
