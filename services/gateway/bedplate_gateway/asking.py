"""What several questions of a client have in common: merging configs, turning pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedplate.kernel.errors import Refused
from bedplate.kernel.setup import PLACE_KEYS, Setup

from .forms import Config, Object

# Keys of `configurable` and `context` that only the server sets; taken out of what clients send.
SERVER_KEYS = frozenset(
    {
        "langgraph_auth_user",
        "langgraph_auth_user_id",
        "langgraph_auth_permissions",
        "langgraph_request_id",
        "__langsmith_project__",
        "__langsmith_example_id__",
        "__request_start_time_ms__",
        "__after_seconds__",
        "__otel_traceparent__",
        "__otel_tracestate__",
        "__dd_trace_headers__",
        "__pregel_node_finished",
        "__context_provided__",
    }
)


def setup_of(config: Config | None, context: Object | None) -> Setup:
    """What a client gave, without the keys it may not set. Raises `Refused` when it gave both."""
    given = config.given() if config is not None else {}
    configurable = _client_keys(given.get("configurable"))
    own_context = _client_keys(context)
    if configurable and own_context:
        raise Refused("Give either config.configurable or context, not both.")
    mirrored = {key: value for key, value in configurable.items() if key not in PLACE_KEYS}
    if configurable or own_context:
        given["configurable"] = configurable or own_context
    return Setup(given, own_context or mirrored)


def _client_keys(given: Mapping[str, Any] | None) -> Object:
    return {key: value for key, value in (given or {}).items() if key not in SERVER_KEYS}


@dataclass(frozen=True)
class Page:
    """One page of rows (JSON texts). `total` is exact only on the last page."""

    rows: Sequence[str]
    next_offset: int | None
    total: int


def page_of(rows: Sequence[str], *, limit: int, offset: int) -> Page:
    """`rows` was asked for with one more than `limit`, which tells whether there is a next page."""
    if len(rows) > limit:
        return Page(rows[:limit], offset + limit, offset + limit + 1)
    return Page(rows, None, offset + len(rows))


def ordering(column: str, order: str | None, *, last: str, has_nulls: bool = False) -> str:
    """An ORDER BY that is total, rows without a value last; both columns come from a fixed list."""
    direction = ("ASC" if order == "asc" else "DESC") + (" NULLS LAST" if has_nulls else "")
    return f"{column} {direction}, {last}" if column != last else f"{column} {direction}"
