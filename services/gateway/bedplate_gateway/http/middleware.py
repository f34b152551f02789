"""Around every request: its id, its log context, its count, and the last rim for failures.

Pure ASGI: a middleware that wraps responses in tasks of its own would break the streams' notice of
a client that left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bedplate.chassis.ids import uuid7
from bedplate.chassis.log import bound, get_logger
from bedplate.chassis.metrics import Metrics

from ..http_block import HeaderRule
from .errors import failed

log = get_logger()

_HEADERS = "bedplate.configurable_headers"
_NONE: Mapping[str, str] = {}
_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Answered:
    """How many requests were answered, and how fast."""

    def __init__(self, metrics: Metrics) -> None:
        self._histogram = metrics.histogram(
            "request.answered",
            "From the request's arrival until its status was sent; streams go on after that.",
            labels=("method", "path", "status"),
        )

    def count(self, method: str, path: str, *, status: int, took_s: float) -> None:
        self._histogram.labels(method, path, str(status)).observe(took_s)

    def totals(self) -> list[dict[str, Any]]:
        """`[{method, path, status, count}]`."""
        return [
            {**sample.labels, "count": int(sample.value)}
            for metric in self._histogram.collect()
            for sample in metric.samples
            if sample.name.endswith("_count")
        ]


class Requests:
    """Sets `scope["request_id"]`, taken from `x-request-id` if that can be one."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        answered: Answered,
        configurable: HeaderRule | None = None,
        logged: HeaderRule | None = None,
    ) -> None:
        """`configurable` headers go with the runs that are started, `logged` ones into the log."""
        self._app = app
        self._answered = answered
        self._configurable = configurable
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._configurable is not None and scope["type"] in ("http", "websocket"):
            scope[_HEADERS] = self._configurable.picked(scope["headers"])
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        header = (b"x-request-id", request_id.encode())
        is_started = False

        async def sent(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                message["headers"] = [*message.get("headers", ()), header]
                took_s = perf_counter() - began
                self._answered.count(
                    scope["method"], _path(scope), status=message["status"], took_s=took_s
                )
            await send(message)

        shown = {"headers": self._logged.picked(scope["headers"])} if self._logged else {}
        with bound(request_id=request_id, **shown):
            try:
                await self._app(scope, receive, sent)
            except Exception:
                log.exception("request.failed", method=scope["method"], path=_path(scope))
                if not is_started:
                    await failed()(scope, receive, sent)


def headers_of(connection: HTTPConnection) -> Mapping[str, str]:
    """Those that reach the runs this request starts."""
    return connection.scope.get(_HEADERS, _NONE)


def _path(scope: Scope) -> str:
    """The route's pattern: a path with ids would make a time series of its own per thread."""
    route: Any = scope.get("route")
    return getattr(route, "path", "(none)")


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return value.decode("ascii")
    return str(uuid7())
