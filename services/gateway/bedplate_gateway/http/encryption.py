"""What a request says about the keys that what it writes is encrypted with: its context.

`X-Encryption-Context` is the base64 of a JSON object; where the project has a `context` handler,
what that makes of the header and of the caller counts. Code of a run speaks in its run's context.
The context is no secret: it is kept in the open beside what was encrypted.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic_core import from_json
from starlette.authentication import UnauthenticatedUser
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from bedplate.chassis.log import get_logger
from bedplate.graphs.encryption import OwnEncryption, encryption_context
from bedplate.graphs.json_handlers import HANDLER_S_MAX, failed
from bedplate.kernel.errors import BedplateError, HandlerFailed

from ..acting import ActingRuns
from ..errors import Unprocessable
from ..forms import Object
from ..json_text import dumped
from .door import refuse, take_context
from .errors import answer_of

log = get_logger()

HEADER = "X-Encryption-Context"
# It is kept beside each value.
CONTEXT_BYTES_MAX = 4096
_URL_SAFE = str.maketrans("-_", "+/")


class Contexts:
    """ASGI, around the router and behind the door."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        own: OwnEncryption,
        acting: ActingRuns,
        is_open: Callable[[Scope], bool],
    ) -> None:
        self._app = app
        self._own = own
        self._acting = acting
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_open(scope):
            try:
                take_context(scope, await self._context(HTTPConnection(scope)))
            except BedplateError as error:
                await refuse(scope, receive, send, answer_of(error))
                return
        await self._app(scope, receive, send)

    async def _context(self, connection: HTTPConnection) -> Object | None:
        run = await self._acting.of(connection.headers)
        if run is not None:
            kept = run.encryption_context
            return None if kept is None else from_json(kept)
        given = given_context(connection.headers.get(HEADER))
        if self._own.context is None:
            return given
        user = connection.scope.get("user", UnauthenticatedUser())
        try:
            async with asyncio.timeout(HANDLER_S_MAX):
                made = await self._own.context(user, encryption_context(None, None, given))
        except Exception as error:
            raise failed(error, "the encryption's context handler") from error
        return _made_context(made)


def given_context(header: str | None) -> Object:
    """Of the header's text; empty without one. Raises `Unprocessable`."""
    if header is None:
        return {}
    try:
        text = header.strip().translate(_URL_SAFE)
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        found: Any = from_json(plain, allow_inf_nan=False)
    except (ValueError, binascii.Error) as error:
        raise Unprocessable(f"{HEADER}: must be the base64 of a JSON object") from error
    if not isinstance(found, dict):
        raise Unprocessable(f"{HEADER}: must be the base64 of a JSON object")
    if len(plain) > CONTEXT_BYTES_MAX:
        raise Unprocessable(f"{HEADER}: must have at most {CONTEXT_BYTES_MAX} bytes of JSON")
    if b"\\u0000" in plain:
        raise Unprocessable(f"{HEADER}: cannot contain a NUL character")
    return cast("Object", found)


def _made_context(made: Any) -> Object:
    """What a project's handler answered, as it is kept. Raises `HandlerFailed`."""
    problem = "answered no object"
    if isinstance(made, Mapping):
        try:
            text = dumped(dict(cast("Mapping[str, Any]", made)))
        except ValueError:
            problem = "answered what is no JSON"
        else:
            if len(text) <= CONTEXT_BYTES_MAX and "\\u0000" not in text:
                return from_json(text)
            problem = f"answered more than {CONTEXT_BYTES_MAX} bytes, or a NUL character"
    log.error("encryption.misformed_context", why=problem)
    raise HandlerFailed(f"the encryption's context handler {problem}")
