"""Errors on their way over the bus: an answer with a header that names the kind, and back to an
exception."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from bedplate.kernel.errors import (
    BedplateError,
    Conflict,
    HandlerFailed,
    NotFound,
    Refused,
    TooLarge,
    Unavailable,
)
from bedplate_proto.envelope import OrderError

# A class stands before the one it is derived from.
_KINDS: dict[str, type[BedplateError]] = {
    "too_large": TooLarge,
    "refused": Refused,
    "not_found": NotFound,
    "conflict": Conflict,
    "unavailable": Unavailable,
    "handler_failed": HandlerFailed,
}


def error_from(kind: str, body: bytes) -> BedplateError:
    """The exception that the other side raised; an unknown kind is a failure of ours
    (`BedplateError`)."""
    told = OrderError.model_validate_json(body)
    found = _KINDS.get(kind)
    if found is None:
        return BedplateError(told.message)
    if found is Unavailable:
        return Unavailable(told.message, retry_s=told.retry_s or 1.0, **told.ids)
    return found(told.message, **told.ids)


def order_error(error: Exception, *, transient: tuple[type[Exception], ...] = ()) -> OrderError:
    """What the asker is told. A failure that is not of our tree is named, but its text stays here;
    one that is `transient` (a server of ours is away) is worth another try."""
    if isinstance(error, ValidationError):
        return OrderError(kind="refused", message=_first_problem(error))
    for kind, found in _KINDS.items():
        if isinstance(error, BedplateError) and isinstance(error, found):
            retry_s = error.retry_s if isinstance(error, Unavailable) else None
            return OrderError(
                kind=kind, message=error.message, retry_s=retry_s, ids=_plain(error.ids)
            )
    if isinstance(error, transient):
        return OrderError(
            kind="unavailable", message=f"not available now: {type(error).__name__}", retry_s=1.0
        )
    return OrderError(kind="internal", message=f"internal error: {type(error).__name__}")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def _plain(ids: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in ids.items() if isinstance(value, str | int | float | bool)
    }
