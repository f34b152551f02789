"""The API as one ASGI app."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from .errors import answer_errors
from .middleware import Answered, Requests
from .paths import Path, SocketPath

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
) -> FastAPI:
    """Routes are plain functions of the request: what they answer is JSON that was made elsewhere,
    and validating it again would cost more than making it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.body_bytes_max = body_bytes_max
    app.router.routes.extend(path.route() for path in paths)
    app.router.routes.extend(socket.route() for socket in sockets)
    answer_errors(app)
    # The last one added is the outermost.
    app.add_middleware(Requests, answered=answered)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(cors_origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=list(_EXPOSED),
    )
    return app
