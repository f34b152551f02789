"""Which changes of a schema break those who read or write the published one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

# A limit that was not there, or is narrower now, refuses what was good before: +1 where a larger
# number is narrower.
_LIMITS = {
    "minimum": 1,
    "exclusiveMinimum": 1,
    "minLength": 1,
    "minItems": 1,
    "maximum": -1,
    "exclusiveMaximum": -1,
    "maxLength": -1,
    "maxItems": -1,
}


def breaking_changes(before: Schema, after: Schema) -> list[str]:
    """One sentence each; adding an optional field is none."""
    return list(_Comparison(before, after).of(before, after, where=""))


class _Comparison:
    def __init__(self, before: Schema, after: Schema) -> None:
        self._before: Schema = before.get("$defs", {})
        self._after: Schema = after.get("$defs", {})
        self._under_way: set[tuple[str, str]] = set()

    def of(self, before: Schema, after: Schema, *, where: str) -> Iterator[str]:
        references = before.get("$ref", ""), after.get("$ref", "")
        if all(references):
            # A model that holds itself.
            if references in self._under_way:
                return
            self._under_way.add(references)
        before, after = _resolved(before, self._before), _resolved(after, self._after)
        label = where or "the message"
        gone = set(_kinds(before, self._before)) - set(_kinds(after, self._after))
        if gone and "any" not in _kinds(after, self._after):
            yield f"{label} may not be {' or '.join(sorted(gone))} any more"
            return
        yield from _narrowed(before, after, label)
        yield from self._fields(before, after, where)
        if "items" in before and "items" in after:
            yield from self.of(before["items"], after["items"], where=f"{where}[]")
        for old, new in zip(before.get("anyOf", []), after.get("anyOf", []), strict=False):
            yield from self.of(old, new, where=where)

    def _fields(self, before: Schema, after: Schema, where: str) -> Iterator[str]:
        old: Schema = before.get("properties", {})
        new: Schema = after.get("properties", {})
        was, now = set(before.get("required", [])), set(after.get("required", []))
        for name in [*old, *(each for each in new if each not in old)]:
            path = f"{where}.{name}" if where else name
            if name not in new:
                yield f"{path} is gone"
            elif name in now - was:
                yield f"{path} is required now"
            elif name in was - now:
                yield f"{path} may be left out now, and readers rely on it"
            if name in old and name in new:
                yield from self.of(old[name], new[name], where=path)


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    return schema if reference is None else definitions[reference.rsplit("/", 1)[-1]]


def _kinds(schema: Schema, definitions: Schema) -> set[str]:
    """JSON types (with the format, if it has one) that the schema allows."""
    schema = _resolved(schema, definitions)
    if "anyOf" in schema:
        return {kind for each in schema["anyOf"] for kind in _kinds(each, definitions)}
    kind = schema.get("type")
    if kind is None:
        return {"any"}
    return {f"{kind} ({schema['format']})" if "format" in schema else kind}


def _narrowed(before: Schema, after: Schema, label: str) -> Iterator[str]:
    for word in _values(before) - _values(after):
        if _values(after):
            yield f"{label} may not be {word!r} any more"
    for limit, sign in _LIMITS.items():
        old, new = before.get(limit), after.get(limit)
        if new is not None and (old is None or sign * (new - old) > 0):
            yield f"{label} has a narrower {limit}: {new}"


def _values(schema: Schema) -> set[Any]:
    return {schema["const"]} if "const" in schema else set(schema.get("enum", []))
