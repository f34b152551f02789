"""Parts of a thread that a search takes out for its client: alias and path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast, get_args

from .errors import Unprocessable
from .forms import Object, ThreadField

_ROOTS = ("values", "metadata", "config", "interrupts")
_RESERVED = (*get_args(ThreadField), "extracted", "ttl")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")
_CHARS_MAX = 500


def extraction_of(extract: dict[str, str]) -> list[Object]:
    """`[{alias, path: [...]}]` as PostgreSQL's `#>` takes it. Raises `Unprocessable`."""
    return [{"alias": _alias(alias), "path": _path(path)} for alias, path in extract.items()]


def roots_of(wanted: Sequence[Object]) -> list[Object]:
    """What the same is asked of when PostgreSQL cannot look inside: whole parts by their name."""
    roots = dict.fromkeys(one["path"][0] for one in wanted)
    return [{"alias": root, "path": [root]} for root in roots]


def extracted(parts: Object, wanted: Sequence[Object]) -> Object:
    """What `#>` would have found in `parts`."""
    return {one["alias"]: _at(parts, one["path"]) for one in wanted}


def _at(found: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(found, dict):
            found = cast("Object", found).get(step)
        elif isinstance(found, list) and re.fullmatch(r"-?\d+", step):
            items = cast("list[Any]", found)
            at = int(step)
            found = items[at] if -len(items) <= at < len(items) else None
        else:
            return None
    return found


def _alias(alias: str) -> str:
    if not alias or len(alias) > _CHARS_MAX:
        raise Unprocessable(f"extract: an alias must have 1 to {_CHARS_MAX} characters")
    if alias in _RESERVED:
        raise Unprocessable(f"extract.{alias}: this name is reserved")
    return alias


def _path(path: str) -> list[str]:
    steps: list[str] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or len(path) > _CHARS_MAX:
            raise Unprocessable(f"extract: '{path[:_CHARS_MAX]}' is not a path like values.a[0].b")
        steps.append(found[1] if found[1] is not None else found[2])
        at = found.end()
    if not steps or steps[0] not in _ROOTS or path.startswith((".", "[")):
        raise Unprocessable(f"extract: '{path}' must begin with one of {', '.join(_ROOTS)}")
    return steps
