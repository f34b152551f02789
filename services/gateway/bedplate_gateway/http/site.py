"""The API as one ASGI app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..access import rules
from ..acting import ActingRuns
from ..http_block import HttpBlock, header_rule
from .custom import Custom
from .door import Admission, Door, refuse, route_path
from .encryption import Contexts
from .errors import answer_errors, not_found
from .middleware import Answered, Requests
from .paths import Path, SocketPath

if TYPE_CHECKING:
    from bedplate.graphs.encryption import OwnEncryption

    from ..access.configured import Configured


@dataclass(frozen=True)
class Encrypting:
    """Where the project has handlers for encryption: what makes the context of a request."""

    own: OwnEncryption
    acting: ActingRuns


@dataclass(frozen=True)
class Guard:
    """Where authentication is configured: who is let in, and what is asked of each route."""

    configured: Configured
    admission: Admission
    acting: ActingRuns
    openapi: Mapping[str, Any]


# A browser that cannot read Location cannot take up a stream again.
_EXPOSED = (
    "Location",
    "Content-Location",
    "X-Pagination-Total",
    "X-Pagination-Next",
    "X-Request-Id",
    "Retry-After",
)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What stands around the routes. `cors` are arguments of the middleware."""

    answered: Answered
    cors: Mapping[str, Any]
    body_bytes_max: int
    guard: Guard | None
    encrypting: Encrypting | None
    custom: Custom | None
    block: HttpBlock
    prefix: str


class Site:
    """The API as one ASGI app."""

    def __init__(
        self, paths: Sequence[Path], sockets: Sequence[SocketPath], around: Surroundings
    ) -> None:
        guard = around.guard
        admission = None if guard is None else guard.admission
        self.routes = [each.route(admission) for each in (*paths, *sockets)]
        self._around = around
        self._first = [path.path for path in paths if path.rule == rules.OPEN]
        app = self._guarded(self._api())
        app = Requests(
            app,
            answered=around.answered,
            configurable=header_rule(around.block.configurable_headers),
            logged=header_rule(around.block.logging_headers),
        )
        cors: dict[str, Any] = {**around.cors}
        cors["expose_headers"] = [*_EXPOSED, *cors["expose_headers"]]
        app = CORSMiddleware(app, **cors)
        self._app = _Prefixed(app, around.prefix) if around.prefix else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def _api(self) -> Starlette:
        """Routes are plain functions of the request: what they answer is JSON that was made
        elsewhere, and validating it again would cost more than making it. So it is Starlette
        without what FastAPI puts around each request."""
        api = Starlette(routes=self.routes)
        api.router.redirect_slashes = False
        api.state.body_bytes_max = self._around.body_bytes_max
        answer_errors(api)
        if self._around.custom is not None:
            api.exception_handlers.update(self._around.custom.exception_handlers())
        if self._around.encrypting is not None:
            # The innermost: whoever asks has been let in.
            api.add_middleware(
                Contexts,
                own=self._around.encrypting.own,
                acting=self._around.encrypting.acting,
                is_open=self._is_first,
            )
        return api

    def _is_first(self, scope: Scope) -> bool:
        return scope["type"] == "http" and route_path(scope) in self._first

    def _guarded(self, api: Starlette) -> ASGIApp:
        """The API behind the door, and in the project's own app."""
        around, block = self._around, self._around.block
        door = None if around.guard is None else self._door
        if around.custom is None:
            return api if door is None else door(api)
        is_inside = block.middleware_order == "middleware_first"
        app = around.custom.around(api, first=self._first, inside=door if is_inside else None)
        return app if is_inside or door is None else door(app)

    def _door(self, app: ASGIApp) -> ASGIApp:
        around = self._around
        guard, custom = around.guard, around.custom
        assert guard is not None
        asks_everywhere = custom is None or around.block.enable_custom_route_auth

        def is_open(scope: Scope) -> bool:
            if self._is_first(scope):
                return True
            return not asks_everywhere and custom is not None and custom.matches(scope)

        return Door(
            app,
            configured=guard.configured,
            acting=guard.acting,
            routes=self.routes,
            is_open=is_open,
            body_bytes_max=around.body_bytes_max,
        )


class _Prefixed:
    """Everything below a path, and nothing beside it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if not f"{scope['path']}/".startswith(f"{self._prefix}/"):
                await refuse(scope, receive, send, not_found())
                return
            scope["root_path"] = scope.get("root_path", "") + self._prefix
        await self._app(scope, receive, send)
