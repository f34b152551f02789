"""Filters that authorization handlers answer: conditions on metadata, said once and meant twice.

`matches` judges metadata that was read, `on` is the same condition in SQL for searches and counts;
`tests/integration/gateway/test_filters.py` holds the two against each other. Grammar: a field with
a value or `{"$eq": value}` (equal JSON), with `{"$contains": value or [values]}` (an array that
holds all of them), `$or` and `$and` of at least two filters, nested at most twice; fields and
operators side by side must all hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic_core import from_json, to_json

DEPTH_MAX = 2
_BRANCHES_MIN = 2
_SCALARS = (str, int, float, bool, type(None))


class Misformed(ValueError):
    """A handler answered what is no filter."""


@dataclass(frozen=True)
class Condition:
    """SQL for a WHERE clause, and the values of its parameters."""

    text: str
    values: Sequence[Any]


class Filter(ABC):
    """What of a resource a caller may meet."""

    @property
    def is_open(self) -> bool:
        """Everything matches: nothing need be looked at."""
        return False

    @property
    def fields(self) -> frozenset[str]:
        """What of the metadata it looks at."""
        return frozenset()

    @abstractmethod
    def matches(self, metadata: Mapping[str, Any]) -> bool: ...

    def on(self, column: str, *, after: int = 0) -> Condition:
        """The filter on a jsonb `column`; its parameters are numbered from `after` + 1."""
        values: list[Any] = []
        text = self._sql(column, values, after)
        return Condition(text, values)

    @abstractmethod
    def _sql(self, column: str, values: list[Any], after: int) -> str: ...


class _Everything(Filter):
    @property
    def is_open(self) -> bool:
        return True

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        return True

    def _sql(self, column: str, values: list[Any], after: int) -> str:
        return "true"


ANY: Filter = _Everything()


@dataclass(frozen=True)
class _Equal(Filter):
    key: str
    value: Any

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.key})

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        return self.key in metadata and _same(metadata[self.key], self.value)

    def _sql(self, column: str, values: list[Any], after: int) -> str:
        # Containment first, because an index answers it.
        text = _containing(column, {self.key: self.value}, values, after)
        if isinstance(self.value, _SCALARS):
            return text
        values += [self.key, _json(self.value)]
        number = after + len(values)
        return f"({text} AND {column} -> ${number - 1}::text = ${number}::jsonb)"


@dataclass(frozen=True)
class _Holding(Filter):
    key: str
    wanted: Sequence[Any]

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.key})

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        found = metadata.get(self.key)
        if not isinstance(found, list):
            return False
        items = cast("list[Any]", found)
        return all(any(_same(item, one) for item in items) for one in self.wanted)

    def _sql(self, column: str, values: list[Any], after: int) -> str:
        return _containing(column, {self.key: list(self.wanted)}, values, after)


@dataclass(frozen=True)
class _Joined(Filter):
    how: Literal["AND", "OR"]
    parts: Sequence[Filter]

    @property
    def fields(self) -> frozenset[str]:
        return frozenset().union(*(part.fields for part in self.parts))

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        judged = (part.matches(metadata) for part in self.parts)
        return all(judged) if self.how == "AND" else any(judged)

    def _sql(self, column: str, values: list[Any], after: int) -> str:
        texts = [part._sql(column, values, after) for part in self.parts]
        return f"({f' {self.how} '.join(texts)})"


def filter_of(given: Mapping[str, Any]) -> Filter:
    """What a handler answered. Raises `Misformed` for what is no filter: it is the project's
    mistake, and nobody is let in by it."""
    try:
        # As it will be compared: JSON.
        plain: Any = from_json(to_json(dict(given), inf_nan_mode="constants"), allow_inf_nan=False)
    except ValueError as error:
        raise Misformed(f"a filter must be JSON: {error}") from error
    return _of(plain, depth=0)


def either(one: Filter, other: Filter) -> Filter:
    return _Joined("OR", (one, other))


def _of(given: Any, *, depth: int) -> Filter:
    if not isinstance(given, dict):
        raise Misformed("a filter must be an object")
    parts = [_part(key, value, depth) for key, value in cast("dict[str, Any]", given).items()]
    if not parts:
        return ANY
    return parts[0] if len(parts) == 1 else _Joined("AND", parts)


def _part(key: str, value: Any, depth: int) -> Filter:
    if "\x00" in key:
        raise Misformed("a field cannot contain a NUL character")
    if key in ("$or", "$and"):
        branches = cast("list[Any]", value) if isinstance(value, list) else []
        if len(branches) < _BRANCHES_MIN:
            raise Misformed(f"{key} must be a list of at least {_BRANCHES_MIN} filters")
        if depth >= DEPTH_MAX:
            raise Misformed(f"{key} is nested more than {DEPTH_MAX} times")
        parts = [_of(branch, depth=depth + 1) for branch in branches]
        return _Joined("OR" if key == "$or" else "AND", parts)
    if key.startswith("$"):
        raise Misformed(f"{key} is no operator: $or, $and and fields stand here")
    operators = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if not any(name.startswith("$") for name in operators):
        return _Equal(key, _storable(value))
    parts = [_operation(key, name, operand) for name, operand in operators.items()]
    return parts[0] if len(parts) == 1 else _Joined("AND", parts)


def _operation(key: str, operator: str, operand: Any) -> Filter:
    if operator == "$eq":
        return _Equal(key, _storable(operand))
    if operator == "$contains":
        wanted = cast("list[Any]", operand) if isinstance(operand, list) else [operand]
        if not all(isinstance(one, _SCALARS) for one in wanted):
            raise Misformed(f"{key}.$contains must be a text, a number, or a list of these")
        return _Holding(key, _storable(wanted))
    raise Misformed(f"{key}.{operator} is no operator: only $eq and $contains are")


def _storable(value: Any) -> Any:
    if b"\\u0000" in to_json(value):
        raise Misformed("a value cannot contain a NUL character")
    return value


def _containing(column: str, part: Any, values: list[Any], after: int) -> str:
    values.append(_json(part))
    return f"{column} @> ${after + len(values)}::jsonb"


def _json(value: Any) -> str:
    return to_json(value).decode()


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON, where true is not 1 and 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(one, list) and isinstance(other, list):
        first, second = cast("list[Any]", one), cast("list[Any]", other)
        return len(first) == len(second) and all(map(_same, first, second))
    return (type(one) is type(other) and one == other) or (
        isinstance(one, int | float) and isinstance(other, int | float) and one == other
    )
