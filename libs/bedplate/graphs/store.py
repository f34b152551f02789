"""LangGraph's store over asyncpg, on the table of the stock one; writes of an attempt are fenced.

A batch is at most one statement for all its reads by key, one per search and listing, and one for
all its writes, which are stored together or not at all. As in the stock store its reads come first.

Differences that callers can rely on: an expired item is gone for readers before it is swept (unless
`ttl` says `omit_expired: False`), comparisons are by type (numbers as numbers), and a filter on a
missing field matches nothing. A `query` ranks by meaning with `vectors`, and says nothing without.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, cast

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from bedplate.kernel.errors import Refused
from bedplate.sql import Statements

from .checkpoint_rows import storable
from .fence import AttemptFence, refusal
from .home_loop import HomeLoop
from .patience import Patience
from .sealing import Sealing
from .vectors import Vectors

_sql = Statements("bedplate.graphs")
_SEARCH = _sql["search_items"].format(conditions=_sql["item_conditions"])

OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
# The column counts whole minutes in 31 bits.
TTL_MINUTES_MAX = 2**31 - 1

Condition = tuple[str, str, str]
Indexed = list[tuple[int, Any]]


class PostgresStore(BaseStore):
    """Construct it on the loop of `pool`. The ledger's tables have to be there as well as ours."""

    supports_ttl = True

    def __init__(
        self,
        pool: Any,
        *,
        ttl: TTLConfig | None = None,
        vectors: Vectors | None = None,
        fence: AttemptFence | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        super().__init__()
        self._sealing = sealing
        self._context: Mapping[str, Any] | None = None
        self.ttl_config = ttl
        self._omits_expired = (ttl or {}).get("omit_expired", True)
        self._home = HomeLoop()
        self._patience = Patience(pool)
        self._vectors = vectors
        self._fence = fence

    def with_fence(self, fence: AttemptFence | None) -> PostgresStore:
        """A copy for one attempt. Its writes raise `Fenced` once another attempt has the run."""
        clone = copy.copy(self)
        clone._fence = fence
        return clone

    def under(self, context: Mapping[str, Any] | None) -> PostgresStore:
        """A copy that encrypts in this context."""
        if self._sealing is None:
            return self
        clone = copy.copy(self)
        clone._context = context
        return clone

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Raises `Refused` for a value that is not JSON, an unknown filter operator, a time to live
        out of range or NUL in a name, `EmbeddingFailed`, `Fenced`, and `Unavailable`."""
        asked = list(ops)
        for op in asked:
            validate_op_namespace(op)
        return await self._home.run(self._batch(asked))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        asked = list(ops)
        return self._home.block_on(
            lambda: self.abatch(asked),
            instead="the method with an `a`, as in `await store.aget(…)`",
        )

    async def _batch(self, asked: list[Op]) -> list[Result]:
        """Everything is made before anything is sent, so that a refused value stores nothing of the
        batch; and embedded before, so that no connection waits for a model."""
        of_kind: dict[type, Indexed] = {}
        for position, op in enumerate(asked):
            of_kind.setdefault(type(op), []).append((position, op))
        gets = _get_arguments([op for _, op in of_kind.get(GetOp, [])])
        searches = await self._searches(of_kind.get(SearchOp, []))
        listings = [
            (at, _listing_arguments(op, omits_expired=self._omits_expired))
            for at, op in of_kind.get(ListNamespacesOp, [])
        ]
        puts = await self._put_arguments([op for _, op in of_kind.get(PutOp, [])])
        results: list[Result] = [None] * len(asked)

        async def work(connection: Any) -> None:
            if gets:
                for row in await connection.fetch(_sql["get_items"], *gets, *self._reader):
                    at, op = of_kind[GetOp][row["position"] - 1]
                    results[at] = Item(key=op.key, namespace=op.namespace, **_content(row))
            for at, search in searches:
                results[at] = await self._search(connection, search)
            for at, listing in listings:
                rows = await connection.fetch(_sql["list_namespaces"], *listing)
                results[at] = [tuple(row["namespace"].split(".")) for row in rows]
            if puts:
                is_accepted = await connection.fetchval(_sql["write_items"], *self._holder, *puts)
                if not is_accepted and self._fence is not None:
                    raise refusal(self._fence)

        if asked:
            await self._patience.run(work)
        if self._sealing is not None:
            await _open(results, self._sealing)
        return results

    @property
    def _holder(self) -> tuple[Any, Any]:
        return (None, None) if self._fence is None else (self._fence.run_id, self._fence.attempt)

    @property
    def _reader(self) -> tuple[Any, ...]:
        return (self._omits_expired, *self._holder)

    async def _searches(self, ops: Indexed) -> list[tuple[int, _Search]]:
        asked = [(at, _Search.of(op, omits_expired=self._omits_expired)) for at, op in ops]
        if self._vectors is None:
            return asked
        queries = [op.query for _, op in ops if op.query]
        made = iter(await self._vectors.of_queries(queries))
        return [
            (at, replace(search, vector=next(made)) if op.query else search)
            for (at, search), (_, op) in zip(asked, ops, strict=True)
        ]

    async def _search(self, connection: Any, search: _Search) -> list[SearchItem]:
        if search.vector is None or self._vectors is None:
            rows = await connection.fetch(
                _SEARCH, *search.conditions, search.limit, search.offset, search.refresh,
                *self._holder,
            )  # fmt: skip
            return [
                SearchItem(tuple(row["prefix"].split(".")), row["key"], **_content(row))
                for row in rows
            ]
        ranked = await self._vectors.nearest(
            connection, search.vector, search.conditions, limit=search.offset + search.limit
        )
        page = list(ranked.items())[search.offset :]
        prefixes, keys = [place[0] for place, _ in page], [place[1] for place, _ in page]
        rows = await connection.fetch(
            _sql["get_items"], prefixes, keys, [search.refresh] * len(page), *self._reader
        )
        # One may have gone since it was ranked.
        content = {row["position"] - 1: _content(row) for row in rows}
        return [
            SearchItem(tuple(prefix.split(".")), key, **content[at], score=score)
            for at, ((prefix, key), score) in enumerate(page)
            if at in content
        ]

    async def _put_arguments(self, ops: list[PutOp]) -> tuple[list[Any], ...]:
        if not ops:
            return ()
        # The last write of a batch to a key counts. Sorted, so that two batches lock in one order.
        last = {(_prefix(op.namespace), _name(op.key, "key")): op for op in ops}
        gone = sorted(place for place, op in last.items() if op.value is None)
        kept = sorted((place, op) for place, op in last.items() if op.value is not None)
        values = [await self._stored(_value(op)) for _, op in kept]
        minutes = [_minutes(op) for _, op in kept]
        vectors = await self._vectors.rows(kept) if self._vectors is not None else []
        return (
            [prefix for prefix, _ in gone],
            [key for _, key in gone],
            [prefix for (prefix, _), _ in kept],
            [key for (_, key), _ in kept],
            values,
            minutes,
            *([row[column] for row in vectors] for column in range(4)),
        )

    async def _stored(self, value: str) -> str:
        if self._sealing is None:
            return value
        return await self._sealing.sealed_text(
            value, model="store", field="value", context=self._context
        )


@dataclass(frozen=True)
class _Search:
    """`conditions` are the first parameters of both searches; `vector`: by meaning."""

    conditions: tuple[Any, ...]
    limit: int
    offset: int
    refresh: bool
    vector: str | None = None

    @classmethod
    def of(cls, op: SearchOp, *, omits_expired: bool) -> _Search:
        conditions = [
            c for name, value in (op.filter or {}).items() for c in _conditions([name], value)
        ]
        columns = [list(column) for column in zip(*conditions, strict=True)] or [[], [], []]
        given = (*_within(op.namespace_prefix), *columns, omits_expired)
        return cls(given, op.limit, op.offset, op.refresh_ttl)


def fenced_store(store: BaseStore, fence: AttemptFence) -> BaseStore:
    """For one attempt. A project's own store knows nothing of attempts: what one that was taken
    over still writes there stays."""
    return store.with_fence(fence) if isinstance(store, PostgresStore) else store


def store_under(store: BaseStore, context: Mapping[str, Any] | None) -> BaseStore:
    """For what is written in an encryption context. How a project's own store keeps things is its
    own matter."""
    return store.under(context) if isinstance(store, PostgresStore) else store


async def _open(results: Sequence[Result], sealing: Sealing) -> None:
    """Items and pages of items, as they were put."""
    for result in results:
        for item in result if isinstance(result, list) else (result,):
            if isinstance(item, Item):
                item.value = await sealing.opened(item.value)


def _content(row: Any) -> dict[str, Any]:
    return {
        "value": json.loads(row["value"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def _prefix(namespace: tuple[str, ...]) -> str:
    return _name(".".join(namespace), "namespace")


def _within(namespace: tuple[str, ...]) -> tuple[str, str, str]:
    """A prefix, and the range of what is below it."""
    prefix = _prefix(namespace)
    # What begins with the prefix and a period comes before what begins with the prefix and the
    # character after the period. Everything comes before the last character.
    return (prefix, f"{prefix}.", f"{prefix}/") if prefix else ("", "", "\U0010ffff")


def _name(text: str, what: str) -> str:
    if "\0" in text:
        raise Refused(f"store {what}: NUL characters are not allowed")
    return text


def _get_arguments(ops: list[GetOp]) -> tuple[list[Any], ...]:
    if not ops:
        return ()
    return (
        [_prefix(op.namespace) for op in ops],
        [_name(op.key, "key") for op in ops],
        [op.refresh_ttl for op in ops],
    )


def _value(op: PutOp) -> str:
    if not isinstance(op.value, Mapping):
        raise Refused(f"store item {op.key!r}: the value must be an object")
    try:
        # Strict, as in the stock store: what would come back as something else is refused.
        text = json.dumps(dict(op.value), allow_nan=False)
        return text if "\\u" not in text else json.dumps(storable(op.value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(f"store item {op.key!r}: the value is not JSON: {error}") from error


def _minutes(op: PutOp) -> float | None:
    if op.ttl is None:
        return None
    if not 0 < op.ttl <= TTL_MINUTES_MAX:
        raise Refused(
            f"store item {op.key!r}: ttl must be more than 0 and at most {TTL_MINUTES_MAX} minutes"
        )
    return float(op.ttl)


def _conditions(path: list[str], value: Any) -> list[Condition]:
    """A filter's value as conditions: operators, a nested object, or equality."""
    if not isinstance(value, Mapping) or not value:
        return [_condition(path, "$eq", value)]
    fields = cast("Mapping[str, Any]", value)
    if not any(name.startswith("$") for name in fields):
        return [c for name, inner in fields.items() for c in _conditions([*path, name], inner)]
    for operator in fields:
        if operator not in OPERATORS:
            raise Refused(
                f"store filter {'.'.join(path)!r}: unknown operator {operator!r},"
                f" one of {', '.join(OPERATORS)}"
            )
    return [_condition(path, operator, operand) for operator, operand in fields.items()]


def _condition(path: list[str], operator: str, operand: Any) -> Condition:
    try:
        text = json.dumps(storable(operand), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused(f"store filter {'.'.join(path)!r} is not JSON: {error}") from error
    return json.dumps(storable(path)), operator, text


def _listing_arguments(op: ListNamespacesOp, *, omits_expired: bool) -> tuple[Any, ...]:
    # A condition without labels constrains nothing.
    conditions = [condition for condition in op.match_conditions or () if condition.path]
    patterns = [_pattern(condition) for condition in conditions]
    known = [
        tuple(takewhile("*".__ne__, one.path)) for one in conditions if one.match_type == "prefix"
    ]
    within = _within(max(known, key=len, default=()))
    return op.max_depth, omits_expired, patterns, op.limit, op.offset, *within


def _pattern(condition: MatchCondition) -> str:
    """A regular expression on whole labels; `*` is any one label."""
    labels = ("[^.]+" if label == "*" else re.escape(label) for label in condition.path)
    body = _name("\\.".join(labels), "namespace")
    return rf"(^|\.){body}\Z" if condition.match_type == "suffix" else rf"^{body}(\.|\Z)"
