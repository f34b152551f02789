"""LangGraph's store over asyncpg, on the table of the stock one; writes of an attempt are fenced.

A batch is at most one statement for all its reads by key, one per search and listing, and one for
all its writes, which are stored together or not at all. As in the stock store its reads come first.

Differences that callers can rely on: an expired item is gone for readers before it is swept (unless
`ttl` says `omit_expired: False`), comparisons are by type (numbers as numbers), and a filter on a
missing field matches nothing.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
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

_sql = Statements("bedplate.graphs")

OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
# The column counts whole minutes in 31 bits.
TTL_MINUTES_MAX = 2**31 - 1

Condition = tuple[str, str, str]
Indexed = list[tuple[int, Any]]


class PostgresStore(BaseStore):
    """Construct it on the loop of `pool`. The ledger's tables have to be there as well as ours."""

    supports_ttl = True

    def __init__(
        self, pool: Any, *, ttl: TTLConfig | None = None, fence: AttemptFence | None = None
    ) -> None:
        super().__init__()
        self.ttl_config = ttl
        self._omits_expired = (ttl or {}).get("omit_expired", True)
        self._home = HomeLoop()
        self._patience = Patience(pool)
        self._fence = fence

    def with_fence(self, fence: AttemptFence | None) -> PostgresStore:
        """A copy for one attempt. Its writes raise `Fenced` once another attempt has the run."""
        clone = copy.copy(self)
        clone._fence = fence
        return clone

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Raises `Refused` for a value that is not JSON, an unknown filter operator, a time to live
        out of range or NUL in a name, `Fenced`, and `Unavailable`."""
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

    async def sweep(self, limit: int) -> int:
        """Remove at most `limit` expired items; how many there were."""
        work = self._patience.run(lambda c: c.fetchval(_sql["sweep_items"], limit))
        return int(await self._home.run(work))

    async def _batch(self, asked: list[Op]) -> list[Result]:
        results: list[Result] = [None] * len(asked)
        of_kind: dict[type, Indexed] = {}
        for position, op in enumerate(asked):
            of_kind.setdefault(type(op), []).append((position, op))
        # Made before anything is sent, so that a refused value stores nothing of the batch.
        gets = _get_arguments([op for _, op in of_kind.get(GetOp, [])])
        searches = [(at, _search_arguments(op)) for at, op in of_kind.get(SearchOp, [])]
        listings = [(at, _listing_arguments(op)) for at, op in of_kind.get(ListNamespacesOp, [])]
        puts = _put_arguments([op for _, op in of_kind.get(PutOp, [])])
        fence = self._fence
        holder = (None, None) if fence is None else (fence.run_id, fence.attempt)

        async def work(connection: Any) -> None:
            if gets:
                rows = await connection.fetch(
                    _sql["get_items"], *gets, self._omits_expired, *holder
                )
                for row in rows:
                    at, op = of_kind[GetOp][row["position"] - 1]
                    results[at] = Item(key=op.key, namespace=op.namespace, **_content(row))
            for at, arguments in searches:
                rows = await connection.fetch(
                    _sql["search_items"], *arguments, self._omits_expired, *holder
                )
                results[at] = [
                    SearchItem(tuple(row["prefix"].split(".")), row["key"], **_content(row))
                    for row in rows
                ]
            for at, (depth, patterns, limit, offset) in listings:
                rows = await connection.fetch(
                    _sql["list_namespaces"], depth, self._omits_expired, patterns, limit, offset
                )
                results[at] = [tuple(row["namespace"].split(".")) for row in rows]
            if puts:
                is_accepted = await connection.fetchval(_sql["write_items"], *holder, *puts)
                if not is_accepted and fence is not None:
                    raise refusal(fence)

        if asked:
            await self._patience.run(work)
        return results


def _content(row: Any) -> dict[str, Any]:
    return {
        "value": json.loads(row["value"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def _prefix(namespace: tuple[str, ...]) -> str:
    return _name(".".join(namespace), "namespace")


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


def _put_arguments(ops: list[PutOp]) -> tuple[list[Any], ...]:
    if not ops:
        return ()
    # The last write of a batch to a key counts. Sorted, so that two batches lock in one order.
    last = {(_prefix(op.namespace), _name(op.key, "key")): op for op in ops}
    gone = sorted(place for place, op in last.items() if op.value is None)
    kept = sorted(place for place, op in last.items() if op.value is not None)
    return (
        [prefix for prefix, _ in gone],
        [key for _, key in gone],
        [prefix for prefix, _ in kept],
        [key for _, key in kept],
        [_value(last[place]) for place in kept],
        [_minutes(last[place]) for place in kept],
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


def _search_arguments(op: SearchOp) -> tuple[Any, ...]:
    prefix = _prefix(op.namespace_prefix)
    literal = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    conditions = [
        c for name, value in (op.filter or {}).items() for c in _conditions([name], value)
    ]
    columns = [list(column) for column in zip(*conditions, strict=True)] or [[], [], []]
    return prefix, f"{literal}.%", *columns, op.limit, op.offset, op.refresh_ttl


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


def _listing_arguments(op: ListNamespacesOp) -> tuple[int | None, list[str], int, int]:
    # A condition without labels constrains nothing.
    patterns = [_pattern(condition) for condition in op.match_conditions or () if condition.path]
    return op.max_depth, patterns, op.limit, op.offset


def _pattern(condition: MatchCondition) -> str:
    """A regular expression on whole labels; `*` is any one label."""
    labels = ("[^.]+" if label == "*" else re.escape(label) for label in condition.path)
    body = _name("\\.".join(labels), "namespace")
    return rf"(^|\.){body}\Z" if condition.match_type == "suffix" else rf"^{body}(\.|\Z)"
