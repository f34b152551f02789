"""A path of the API: how it is served, and everything its documentation says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

from ..access.rules import Rule

Handler = Callable[[Request], Awaitable[Response]]
SocketHandler = Callable[[WebSocket], Awaitable[None]]
Shape = type[BaseModel] | Mapping[str, Any] | None
"""A model, a JSON schema, or nothing."""


SERVER_SENT: Shape = {"description": "Server-sent events."}


@dataclass(frozen=True)
class Query:
    """A parameter of the query, or with `place` a header."""

    name: str
    schema: Mapping[str, Any]
    about: str
    is_required: bool = False
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True)
class Path:
    method: str
    path: str
    handler: Handler
    about: str
    tag: str
    answer: Shape = None
    """What a 200 holds."""
    is_list: bool = False
    is_selected: bool = False
    """Its rows may be parts: those that `select` names."""
    refusal: type[BaseModel] | None = None
    """What a 400 holds, if it is no `Problem`."""
    media: str = "application/json"
    other_media: Sequence[str] = ()
    """What a client may ask for instead."""
    status: int = 200
    body: type[BaseModel] | None = None
    query: Sequence[Query] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Response headers and what they say."""
    errors: Sequence[int] = ()
    others: Mapping[int, str] = field(default_factory=dict[int, str])
    """Further good answers without a body."""
    rule: Rule | None = None
    """What it needs; None is refused where authentication is configured."""

    def route(self, admission: Admission | None = None) -> Route:
        handler = self.handler
        if admission is not None:
            handler = admission.of(self.rule, handler)
        route = _Route(self.path, handler, methods=[self.method])
        route.rule = self.rule
        return route


@dataclass(frozen=True)
class SocketPath:
    """A websocket of the API."""

    path: str
    handler: SocketHandler
    rule: Rule | None = None

    def route(self, admission: Admission | None = None) -> WebSocketRoute:
        handler = self.handler
        if admission is not None:
            handler = admission.of_socket(self.rule, handler)
        route = _SocketRoute(self.path, handler)
        route.rule = self.rule
        return route


class Admission(Protocol):
    """What stands in front of handlers where authentication is configured."""

    def of(self, rule: Rule | None, handler: Handler) -> Handler: ...

    def of_socket(self, rule: Rule | None, handler: SocketHandler) -> SocketHandler: ...


class _SocketRoute(WebSocketRoute):
    rule: Rule | None = None


class _Route(Route):
    """Tells the request which pattern it met, for the metrics."""

    rule: Rule | None = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE:
            found["route"] = self
        return match, found
