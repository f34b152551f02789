"""Values to bytes and back, without running what the bytes say.

Checkpoints hold what agents wrote. The stock serializer imports and calls any class a stored value
names; ours revives LangGraph's list of safe types and what the project's `langgraph.json` allows
(`checkpointer.serde`). Anything else comes back as its plain fields, and pickle is never loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from bedplate.kernel.errors import Refused

from .revival import reviving

Modules = Iterable[tuple[str, ...]] | Literal[True] | None


class Unserialisable(Refused):
    """A value that a graph wants to keep cannot be stored."""


class _StrictSerializer(JsonPlusSerializer):
    """Revives what LangGraph's own does, messages the short way."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, text = data
        if kind != "msgpack":
            return super().loads_typed(data)
        # Made anew: LangGraph copies a serializer to allow its graph's own types, and then changes
        # it.
        hook = reviving(self._unpack_ext_hook)
        return ormsgpack.unpackb(text, ext_hook=hook, option=ormsgpack.OPT_NON_STR_KEYS)


def strict_serde(
    *, allowed_msgpack: Iterable[tuple[str, ...]] = (), allowed_json: Modules = None
) -> JsonPlusSerializer:
    """The serializer of every saver. `allowed_msgpack` are (module, class) pairs to revive beyond
    the safe ones."""
    return _StrictSerializer(
        pickle_fallback=False,
        allowed_msgpack_modules=tuple(allowed_msgpack) or None,
        allowed_json_modules=allowed_json,
    )


def serde_from_config(checkpointer: Mapping[str, Any]) -> JsonPlusSerializer:
    """The serializer that the `checkpointer` block of a `langgraph.json` asks for.

    Raises `Refused` for a malformed list and for `pickle_fallback: true`, which would run whatever
    stands in the database.
    """
    block: Any = checkpointer.get("serde") or {}
    if not isinstance(block, Mapping):
        raise Refused("checkpointer.serde must be an object.")
    options = cast("Mapping[str, Any]", block)
    if options.get("pickle_fallback"):
        raise Refused("checkpointer.serde.pickle_fallback is not supported: pickle runs code.")
    msgpack = _modules(options.get("allowed_msgpack_modules"), "allowed_msgpack_modules")
    json = _modules(options.get("allowed_json_modules"), "allowed_json_modules")
    if msgpack is True:
        raise Refused("checkpointer.serde.allowed_msgpack_modules must be a list of names.")
    return strict_serde(allowed_msgpack=msgpack or (), allowed_json=json)


def _modules(value: Any, name: str) -> list[tuple[str, ...]] | Literal[True] | None:
    """A list of `["module", "Class"]`, `"module.Class"` or `"module:Class"`."""
    if value is None or value is True:
        return value
    if not isinstance(value, list):
        raise Refused(f"checkpointer.serde.{name} must be a list.")
    modules: list[tuple[str, ...]] = []
    for entry in cast("list[Any]", value):
        if isinstance(entry, str):
            module, _, symbol = entry.replace(":", ".").rpartition(".")
            parts: list[Any] = [module, symbol]
        elif isinstance(entry, list):
            parts = cast("list[Any]", entry)
        else:
            parts = []
        if len(parts) < 2 or not all(isinstance(part, str) and part for part in parts):
            raise Refused(
                f'checkpointer.serde.{name}: {entry!r} is not a class; write ["module", "Class"].'
            )
        modules.append(tuple(parts))
    return modules


def dump(serde: SerializerProtocol, channel: str, value: Any) -> tuple[str, bytes]:
    """`value` as (type, bytes). Raises `Unserialisable` naming the channel and the type."""
    try:
        return serde.dumps_typed(value)
    except Exception as error:
        # Whatever a user's own model raises while it is dumped, the answer has to say where.
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        why = error.__cause__ or error
        raise Unserialisable(
            f"channel {channel!r}: a value of type {kind} cannot be stored"
            f" ({type(why).__name__}: {why})",
            channel=channel,
            type=kind,
        ) from error


def is_inline(value: Any) -> bool:
    """Whether a value stands in the checkpoint's own JSON, as in the stock saver. A number that
    JSON does not have (NaN, infinity) does not: readers of either saver find it among the blobs."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)
