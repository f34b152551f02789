"""JSON in and out: integers keep their precision, and no NUL gets in, which PostgreSQL has not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from pydantic_core import from_json, to_json

from .errors import Unprocessable

_NUL = "\x00"
_REPLACEMENT = "�"


def parsed(body: bytes) -> Any:
    """The value of a JSON text. Raises `Unprocessable` when it is none, or has a NUL in a key.

    A NUL inside a text becomes U+FFFD: PostgreSQL has no such character.
    """
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Unprocessable(f"The body is not valid JSON: {error}") from error
    return _without_nul(value, "") if b"\\u0000" in body else value


def dumped(value: Any) -> str:
    """JSON text; what JSON has no word for (infinity) is null."""
    return to_json(value, inf_nan_mode="null").decode()


def array(rows: Iterable[str]) -> bytes:
    """A JSON array of texts that are JSON already."""
    return ("[" + ",".join(rows) + "]").encode()


def with_member(row: str, name: str, value: str) -> str:
    """An object's text with one more member, both given as JSON."""
    head = row.rstrip().removesuffix("}").rstrip()
    comma = "" if head.endswith("{") else ","
    return f'{head}{comma}"{name}":{value}}}'


def _without_nul(value: Any, where: str) -> Any:
    if isinstance(value, str):
        return value.replace(_NUL, _REPLACEMENT)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_without_nul(item, f"{where}[{at}]") for at, item in enumerate(items)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        for key in members:
            if _NUL in key:
                raise Unprocessable(f"A key of '{where or 'the body'}' contains a NUL character.")
        return {
            key: _without_nul(item, f"{where}.{key}".lstrip(".")) for key, item in members.items()
        }
    return value
