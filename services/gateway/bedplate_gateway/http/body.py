"""Reading requests: bodies up to a limit, path ids, queries. What is wrong is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from bedplate.kernel.errors import TooLarge

from ..checking import checked
from ..errors import Unprocessable
from ..forms import Object
from ..ids import uuid_or_none
from ..json_text import parsed

F = TypeVar("F", bound=BaseModel)

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off", "")
_SHOWN_MAX = 200


async def body_of(request: Request, *, limit: int | None = None) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is known to be, also without a length."""
    limit = request.app.state.body_bytes_max if limit is None else limit
    assert limit is not None
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def object_of(request: Request) -> Object:
    """The body, a JSON object; no body at all counts as an empty one."""
    body = await body_of(request)
    value = parsed(body) if body.strip() else {}
    if not isinstance(value, dict):
        raise Unprocessable("The body must be a JSON object.")
    return value


async def form_of(request: Request, form: type[F]) -> F:
    """The body as this form."""
    return checked(form, await object_of(request))


def path_id(request: HTTPConnection, name: str) -> UUID:
    """`thread_id` of the path, say. Raises `Unprocessable`."""
    found = uuid_or_none(request.path_params[name])
    if found is None:
        raise Unprocessable(f"Invalid {name.removesuffix('_id')} ID: must be a UUID")
    return found


def flag_of(request: Request, name: str, *, default: bool = False) -> bool:
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Unprocessable(f"{name}: must be true or false, not '{text[:_SHOWN_MAX]}'")


def choice_of(request: Request, name: str, *, default: str, choices: Sequence[str]) -> str:
    text = request.query_params.get(name, default)
    if text not in choices:
        raise Unprocessable(f"{name}: must be one of {', '.join(choices)}")
    return text


def queried(request: Request, *names: str, many: Sequence[str] = ()) -> Mapping[str, Any]:
    """These parts of the query that are there; `many` may be repeated."""
    query = request.query_params
    found: dict[str, Any] = {name: query[name] for name in names if name in query}
    return found | {name: query.getlist(name) for name in many if name in query}


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {limit} bytes this server accepts.")
