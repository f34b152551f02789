"""What went wrong, as a status and `{"detail": …}`."""

from __future__ import annotations

import math
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route

from bedplate.chassis.log import get_logger
from bedplate.kernel.errors import (
    BedplateError,
    Conflict,
    HandlerFailed,
    NotFound,
    Refused,
    TooLarge,
    Unavailable,
)

from ..errors import Denied, Unprocessable, Unsupported
from ..json_text import dumped
from .answers import json_answer

log = get_logger()

# Most specific first.
_STATUSES: tuple[tuple[type[BedplateError], int], ...] = (
    (TooLarge, 413),
    (Unprocessable, 422),
    (Unsupported, 501),
    (Refused, 400),
    (NotFound, 404),
    (Conflict, 409),
    (Unavailable, 503),
)
# What nginx calls "client closed request"; nobody is there to read it.
_GONE = 499


def answer_errors(app: Starlette) -> None:
    app.add_exception_handler(BedplateError, _expected)
    app.add_exception_handler(HTTPException, _of_router)
    app.add_exception_handler(ClientDisconnect, _gone)


def failed() -> Response:
    """A fault of ours; its text stays in the log."""
    return PlainTextResponse("Internal Server Error", status_code=500)


def not_found() -> Response:
    return _detail("Not Found", 404, {})


def status_of(error: BedplateError) -> int | None:
    """None: a fault of ours."""
    if isinstance(error, Denied | HandlerFailed):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), None)


async def _expected(_: Request, error: Exception) -> Response:
    assert isinstance(error, BedplateError)
    return answer_of(error)


def answer_of(error: BedplateError) -> Response:
    status = status_of(error)
    if status is not None:
        headers = error.headers if isinstance(error, Denied | HandlerFailed) else {}
        if isinstance(error, Unavailable):
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_s)))
        return _detail(error.message, status, headers)
    log.error("request.failed", why=error.message, **error.ids)
    return failed()


async def _of_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods_at(request)))
    return _detail(str(error.detail), error.status_code, headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_GONE)


def _methods_at(request: Request) -> set[str]:
    """The router answers with the methods of the first route of a path; these are all of them."""
    found: set[str] = set()
    routes: list[Any] = request.app.routes
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found


def _detail(text: str, status: int, headers: dict[str, str]) -> Response:
    return json_answer(dumped({"detail": text}), status=status, headers=headers)
