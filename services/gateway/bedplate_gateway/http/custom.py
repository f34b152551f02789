"""The project's own app (`http.app`) around the API: its routes first, its middleware around
everything, its lifespan, its words in the document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from bedplate.chassis.errors import ConfigurationError
from bedplate.chassis.log import get_logger
from bedplate.graphs.loading import users_trace
from bedplate.kernel.errors import Refused

from .answers import FLOWING

log = get_logger()

Around = Callable[[ASGIApp], ASGIApp]


def custom_app(found: Any) -> Starlette:
    """Raises `Refused`."""
    if not isinstance(found, Starlette):
        kind = type(found).__name__
        raise Refused(f"it is a {kind}; it must be an app of Starlette or FastAPI")
    return found


class Custom:
    """A resource: it is the app's lifespan."""

    name = "http.app"

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._own: list[BaseRoute] = list(app.router.routes)
        self._context: Any = None
        self._state: dict[str, Any] = {}

    def matches(self, scope: Scope) -> bool:
        """Whether a route of the project's serves this request."""
        return any(route.matches(scope)[0] is Match.FULL for route in self._own)

    def exception_handlers(self) -> dict[Any, Any]:
        """Those the project has set: they count for our paths too."""
        handlers = cast("dict[Any, Any]", self._app.exception_handlers)
        return {key: handler for key, handler in handlers.items() if not _is_default(handler)}

    def document(self) -> dict[str, Any]:
        """The app's own OpenAPI document; empty if it has none."""
        described = getattr(self._app, "openapi", None)
        if described is None:
            return {}
        try:
            return described()
        except Exception:
            log.exception("document.failed")
            return {}

    def around(self, api: Starlette, *, first: Sequence[str], inside: Around | None) -> ASGIApp:
        """The API within the app. `first` are paths that stay ours; `inside` stands between the
        app's middleware and all routes."""
        if inside is not None:
            # The last one is the innermost.
            self._app.user_middleware.append(Middleware(_Inside, around=inside))
        ours = list(api.router.routes)
        kept = [route for route in ours if getattr(route, "path", None) in first]
        self._app.router.routes[:] = [_Ours(api, kept), *self._own, _Ours(api, ours)]
        self._app.router.default = api
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A middleware of the project's may hold an answer until its body has begun: flows are sent
        # from within the app here.
        scope.pop(FLOWING, None)
        if self._state:
            scope["state"] = {**scope.get("state", {}), **self._state}
        await self._app(scope, receive, send)

    async def __aenter__(self) -> Self:
        try:
            self._context = self._app.router.lifespan_context(self._app)
            self._state = dict(await self._context.__aenter__() or {})
        except Exception as error:
            told = f"'http.app' failed to start: {type(error).__name__}: {error}"
            raise ConfigurationError(f"{told}\n\n{users_trace(error)}".rstrip()) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._context.__aexit__(None, None, None)


class _Inside:
    """A middleware that is made when the app's stack is."""

    def __init__(self, app: ASGIApp, *, around: Around) -> None:
        self._app = around(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Ours(BaseRoute):
    """Some of our routes among the project's. Also for a method they do not have, or the answer
    would not name those they have."""

    def __init__(self, api: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._api = api
        self._routes = routes

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_ours = any(route.matches(scope)[0] is not Match.NONE for route in self._routes)
        return (Match.FULL if is_ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._api(scope, receive, send)


def _is_default(handler: Any) -> bool:
    """FastAPI has some in every app: they are no wish of the project's."""
    return getattr(handler, "__module__", "") == "fastapi.exception_handlers"
