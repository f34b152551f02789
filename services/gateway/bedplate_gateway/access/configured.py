"""What is made of a project's `langgraph_sdk.Auth`; imported only where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from langgraph_sdk.auth import Auth
from langgraph_sdk.auth.exceptions import HTTPException
from langgraph_sdk.auth.types import AuthContext, StudioUser
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException as StarletteHTTPException

from bedplate.kernel.errors import Refused

from .authentication import Authentication, CacheBlock
from .callers import Caller
from .handlers import Context, Handlers

STUDIO = "langgraph-studio-user"


class AuthBlock(BaseModel):
    """The block `auth` of `langgraph.json`. Keys it does not know are refused: a misspelt one that
    is ignored is an open door."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = None
    disable_studio_auth: bool = False
    allow_langsmith_api_keys: bool = False
    openapi: dict[str, Any] = {}
    cache: CacheBlock | None = None


@dataclass(frozen=True)
class Configured:
    """`studio`: who comes in with `x-auth-scheme: langsmith`; None: nobody does."""

    authentication: Authentication
    handlers: Handlers
    studio: Caller | None


def configured(auth: Any, block: AuthBlock, *, limit_s: float, lets_studio_in: bool) -> Configured:
    """Raises `Refused` for what is no such object, or has nobody who authenticates."""
    if not isinstance(auth, Auth):
        raise Refused(f"it is a {type(auth).__name__}; it must be a langgraph_sdk.Auth")
    # The library keeps these names for servers.
    kept = cast("Any", auth)
    if kept._authenticate_handler is None:
        raise Refused("it has no @auth.authenticate function")
    context = Context(AuthContext, (HTTPException, StarletteHTTPException), limit_s)
    user = StudioUser(STUDIO, is_authenticated=True)
    studio = Caller(
        user,
        {
            "identity": STUDIO,
            "display_name": STUDIO,
            "permissions": [*user.permissions],
            "is_authenticated": True,
        },
    )
    return Configured(
        Authentication(kept._authenticate_handler, context, cache=block.cache),
        Handlers(dict(kept._handlers), list(kept._global_handlers), context),
        studio if lets_studio_in and not block.disable_studio_auth else None,
    )
