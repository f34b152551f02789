"""The API as one ASGI app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from ..acting import ActingRuns
from .door import Admission, Door, open_paths
from .errors import answer_errors
from .middleware import Answered, Requests
from .paths import Path, SocketPath

if TYPE_CHECKING:
    from ..access.configured import Configured


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


def site(
    paths: Sequence[Path],
    sockets: Sequence[SocketPath],
    answered: Answered,
    *,
    cors_origins: Sequence[str],
    body_bytes_max: int,
    guard: Guard | None = None,
) -> FastAPI:
    """Routes are plain functions of the request: what they answer is JSON that was made elsewhere,
    and validating it again would cost more than making it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.body_bytes_max = body_bytes_max
    admission = None if guard is None else guard.admission
    routes = [each.route(admission) for each in (*paths, *sockets)]
    app.router.routes.extend(routes)
    answer_errors(app)
    # The last one added is the outermost.
    if guard is not None:
        app.add_middleware(
            Door,
            configured=guard.configured,
            acting=guard.acting,
            routes=routes,
            is_open=open_paths([(path.path, path.rule) for path in paths]),
            body_bytes_max=body_bytes_max,
        )
    app.add_middleware(Requests, answered=answered)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(cors_origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=list(_EXPOSED),
    )
    return app
