"""A graph's failure as clients may see it: what was raised, without what is nobody's business."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from langgraph.errors import (
    EmptyInputError,
    GraphBubbleUp,
    InvalidUpdateError,
    NodeCancelledError,
    NodeTimeoutError,
    TaskNotFound,
)

from bedplate.kernel.errors import BedplateError


class ShownError(TypedDict):
    """The last three are of an answer that was refused (`strict_resume`)."""

    error: str
    message: str
    reason: NotRequired[str]
    interrupt_ids: NotRequired[Sequence[str]]
    pending_ids: NotRequired[Sequence[str]]


_INTERNAL = "An internal error occurred"
_MESSAGE_LENGTH_MAX = 20_000
_SHOWN: tuple[type[BaseException], ...] = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    RecursionError,
    TimeoutError,
    NodeTimeoutError,
    InvalidUpdateError,
    GraphBubbleUp,
    EmptyInputError,
    TaskNotFound,
    asyncio.CancelledError,
    NodeCancelledError,
    BedplateError,
)
# By name, because every HTTP library has its own and none of them has to be installed.
_SHOWN_NAMES = frozenset(
    {"HTTPException", "HTTPError", "HTTPStatusError", "APIStatusError", "UnknownInterruptError"}
)


def shown_error(exception: BaseException) -> ShownError:
    """Always the class; the text only where it is meant for the caller."""
    kind = type(exception)
    names = {base.__name__ for base in kind.__mro__}
    is_shown = isinstance(exception, _SHOWN) or bool(names & _SHOWN_NAMES)
    shown: ShownError = {
        "error": kind.__name__,
        "message": _text(exception) if is_shown else _INTERNAL,
    }
    if "UnknownInterruptError" in names:
        refused: Any = exception
        shown["reason"] = refused.reason
        shown["interrupt_ids"] = refused.interrupt_ids
        shown["pending_ids"] = refused.pending_ids
    return shown


def _text(exception: BaseException) -> str:
    try:
        text = str(exception)
    except Exception:
        return _INTERNAL
    return text if len(text) <= _MESSAGE_LENGTH_MAX else text[:_MESSAGE_LENGTH_MAX] + "…"
