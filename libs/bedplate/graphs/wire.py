"""Python values as the JSON every client of the Agent Server sees.

One spelling everywhere (streams, state, history, thread rows), and never an error: what a graph
puts into its state is the user's business, and a run must not fail because of how one value would
be shown. The fast path is one call into orjson; what orjson refuses (integers beyond 64 bits, keys
that are no text, cycles, lone surrogates) and what PostgreSQL cannot store (NUL characters) takes a
second, slower walk.
"""

from __future__ import annotations

import base64
import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, NamedTuple, cast
from uuid import UUID

import orjson
from langchain_core.messages import BaseMessage
from langgraph.types import Send
from pydantic import BaseModel

# A naive instant is taken as UTC, so that every instant on the wire has an offset.
_OPTIONS = orjson.OPT_NAIVE_UTC
# orjson itself stops at 254 levels; a walk in Python has to stop before the interpreter's own
# limit.
_DEPTH_MAX = 200
_TEXT_LENGTH_MAX = 10_000
_INTEGER_MAX = 2**64 - 1
_INTEGER_MIN = -(2**63)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# Addresses, zones, URLs and secrets (whose text is asterisks) read better than their `repr`.
_SHOWN_AS_TEXT = frozenset({"ipaddress", "pydantic", "yarl", "zoneinfo"})

_Shape = Callable[[Any], Any]


class WireEvent(NamedTuple):
    """One event of a run's stream: its name and its data, already JSON."""

    event: str
    data: bytes


def dumps(value: Any) -> bytes:
    """`value` as UTF-8 JSON without NUL characters. Never raises for what the value is."""
    try:
        encoded = orjson.dumps(value, _shaped, _OPTIONS)
    except Exception:
        return _slowly(value)
    # The six characters may also be a backslash that a user wrote; the slow walk tells them apart.
    if b"\\u0000" in encoded:
        return _slowly(value)
    return encoded


def raw(encoded: bytes) -> Any:
    """JSON that is already encoded, to be placed as it is inside a value given to `dumps`."""
    return orjson.Fragment(encoded)


def text_of(value: object) -> str:
    """`repr(value)`, cut at 10,000 characters, also for an object whose `repr` fails."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__module__}.{type(value).__qualname__} object>"
    return _storable(text if len(text) <= _TEXT_LENGTH_MAX else text[:_TEXT_LENGTH_MAX] + "…")


def _slowly(value: Any) -> bytes:
    return orjson.dumps(_tree(value, frozenset(), 0), None, _OPTIONS)


def _shaped(value: Any) -> Any:
    """What orjson asks for a type it does not know; it goes on with the answer."""
    return _shape_for(cast("type[Any]", type(value)))(value)


@lru_cache(maxsize=4096)
def _shape_for(kind: type[Any]) -> _Shape:
    """How values of `kind` are shown. Decided once per type: messages are shaped once per token."""
    for base, shape in _SHAPES:
        if issubclass(kind, base):
            return shape
    return _structural_shape(kind) or text_of


def _structural_shape(kind: type[Any]) -> _Shape | None:
    """Types known by what they offer, not by their name, so that nothing has to be imported for
    them.
    """
    if issubclass(kind, tuple):
        return _named_tuple if hasattr(kind, "_asdict") else list
    if hasattr(kind, "__attrs_attrs__"):
        return _attrs
    if is_dataclass(kind):
        return _dataclass
    if hasattr(kind, "__fields__") and callable(getattr(kind, "dict", None)):
        return _pydantic_v1
    if hasattr(kind, "dtype") and callable(getattr(kind, "tolist", None)):
        return _array
    if kind.__module__.partition(".")[0] in _SHOWN_AS_TEXT:
        return str
    return None


def _message(message: BaseMessage) -> Any:
    # The fields of a message are plain values and `model_dump` costs several microseconds per token
    # (test_every_kind_of_message_is_shown_as_its_model_dump holds the two together).
    extra = message.__pydantic_extra__
    return {**message.__dict__, **extra} if extra else message.__dict__


def _model(model: BaseModel) -> Any:
    # By what the value is, not by what the field was declared as: a list of messages would lose its
    # tool calls.
    return model.model_dump(serialize_as_any=True, warnings=False)


def _pydantic_v1(model: Any) -> Any:
    return model.dict()


def _attrs(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name, None) for field in type(value).__attrs_attrs__}


def _dataclass(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name, None) for field in fields(value)}


def _named_tuple(value: Any) -> Any:
    return value._asdict()


def _array(value: Any) -> Any:
    return value.tolist()


def _decimal(value: Decimal) -> Any:
    return orjson.Fragment(str(value)) if value.is_finite() else None


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode("ascii")


def _send(value: Send) -> dict[str, Any]:
    return {"node": value.node, "arg": value.arg}


def _enum(value: Enum) -> Any:
    return value.value


def _isoformat(value: date | time) -> str:
    return value.isoformat()


# In this order: the first base that fits decides.
_SHAPES: tuple[tuple[type[Any], _Shape], ...] = (
    (BaseMessage, _message),
    (BaseModel, _model),
    (Send, _send),
    (bytes, _bytes),
    (bytearray, _bytes),
    (memoryview, _bytes),
    (Decimal, _decimal),
    (timedelta, timedelta.total_seconds),
    (Set, list),
    (deque, list),
    (Mapping, dict),
    (BaseException, text_of),
    (type, text_of),
    (Enum, _enum),
    (time, _isoformat),
    (PurePath, str),
)


def _tree(value: Any, above: frozenset[int], depth: int) -> Any:
    """`value` in nothing but what orjson takes at once. `above` holds the ids of the containers
    around it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, int) and not isinstance(value, Enum):
        whole = int(value)
        return whole if _INTEGER_MIN <= whole <= _INTEGER_MAX else orjson.Fragment(_digits(whole))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (datetime, UUID)):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, orjson.Fragment):
        return value
    if id(value) in above or depth >= _DEPTH_MAX:
        return text_of(value)
    within = above | {id(value)}
    if isinstance(value, dict):
        return {
            _key(key): _tree(item, within, depth + 1)
            for key, item in cast("dict[Any, Any]", value).items()
        }
    if isinstance(value, list) or type(value) is tuple:
        return [_tree(item, within, depth + 1) for item in cast("list[Any]", value)]
    try:
        shaped = _shaped(value)
    except Exception:
        return text_of(value)
    return _tree(shaped, within, depth + 1)


def _digits(whole: int) -> str:
    try:
        return str(whole)
    except ValueError:
        # Beyond the interpreter's limit for decimal text (4300 digits): shown as text, still exact.
        return f'"{whole:#x}"'


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return _storable(key)
    if key is None or isinstance(key, (bool, float)):
        return orjson.dumps(key).decode("ascii")
    if isinstance(key, (datetime, date, time)):
        return key.isoformat()
    if isinstance(key, (int, UUID)):
        return str(key)
    return text_of(key)


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("�", text) if _UNSTORABLE.search(text) else str(text)
