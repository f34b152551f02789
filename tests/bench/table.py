"""The measurements as one table: what is demanded, the floor, the product, and their ratio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from measures import Figures
from streams import IDLE_STREAMS


@dataclass
class Column:
    """One thing that was measured: the floor, or the product with some number of workers."""

    name: str
    loads: dict[str, Figures] = field(default_factory=dict[str, Figures])
    idle: dict[str, Any] = field(default_factory=dict[str, Any])
    streams: dict[str, float] = field(default_factory=dict[str, float])
    queue: dict[str, float] = field(default_factory=dict[str, float])
    start: dict[str, float] = field(default_factory=dict[str, float])
    sizes: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Line:
    """`of` reads the number of a column, None if it was not measured there."""

    title: str
    unit: str
    demand: tuple[str, float]
    of: Callable[[Column], float | None]


def _load(
    title: str, unit: str, demand: tuple[str, float], load: str, of: Callable[[Figures], float]
) -> Line:
    return Line(title, unit, demand, lambda c: of(c.loads[load]) if load in c.loads else None)


def _streams(title: str, unit: str, demand: tuple[str, float], name: str) -> Line:
    return Line(title, unit, demand, lambda column: column.streams.get(name))


def _queue(title: str, unit: str, demand: tuple[str, float], name: str) -> Line:
    return Line(title, unit, demand, lambda column: column.queue.get(name))


def _size(title: str, unit: str, demand: tuple[str, float], name: str) -> Line:
    return Line(title, unit, demand, lambda column: column.sizes.get(name))


LINES = (
    _load("no-op run, concurrency 1, p50", "ms", ("≤", 15), "noop-1", lambda f: f.p50_ms),
    _load("  CPU per 1000 runs", "s", ("≤", 10), "noop-1", lambda f: f.cpu_ms_per_unit),
    _load("no-op runs, concurrency 16", "/s", ("≥", 100), "noop-16", lambda f: f.rate),
    _load("  CPU per 1000 runs", "s", ("≤", 10), "noop-16", lambda f: f.cpu_ms_per_unit),
    _load("no-op runs, concurrency 64", "/s", ("≥", 100), "noop-64", lambda f: f.rate),
    _load("  CPU per 1000 runs", "s", ("≤", 10), "noop-64", lambda f: f.cpu_ms_per_unit),
    _load("super-steps, concurrency 16", "/s", ("≥", 400), "steps-16", lambda f: f.rate),
    _load("  CPU per step", "ms", ("≤", 2.5), "steps-16", lambda f: f.cpu_ms_per_unit),
    _load("  checkpoint commits per step", "", ("≤", 2), "steps-16", lambda f: f.commits_per_unit),
    _load("  transactions per step", "", ("", 0), "steps-16", lambda f: f.transactions_per_unit),
    _load("first token, concurrency 1", "ms", ("≤", 20), "tokens-1", lambda f: f.first_token_ms),
    _load("token events, concurrency 16", "/s", ("≥", 6000), "tokens-16", lambda f: f.rate),
    _load("  CPU per token", "ms", ("≤", 0.2), "tokens-16", lambda f: f.cpu_ms_per_unit),
    _load("token events, 64 runs at once", "/s", ("≥", 6000), "tokens-64", lambda f: f.rate),
    _load("  first token, p50", "ms", ("≤", 300), "tokens-64", lambda f: f.first_token_ms),
    _streams("token made to client, idle, p50", "ms", ("≤", 3), "token_p50_ms"),
    _streams("  p95", "ms", ("", 0), "token_p95_ms"),
    _streams(f"{IDLE_STREAMS} idle streams, gateway", "MB more", ("≤", 150), "idle_mb"),
    _streams("  CPU of the gateway", "% of a core", ("<", 5), "idle_cpu_percent"),
    # Its pool of PostgreSQL connections fills while the streams are opened.
    _streams("  its connections to servers", "more", ("≤", 10), "idle_connections"),
    _queue("decision to start a run, p50", "ms", ("≤", 3), "decide_p50_ms"),
    _queue("  transactions", "", ("≤", 1), "decide_transactions"),
    _queue("50 runs in line, each above the library's", "ms", ("≤", 10), "line_over_ms"),
    _queue("cancel of a node that awaits, p50", "ms", ("≤", 50), "cancel_p50_ms"),
    _queue("create a run, empty queue, p50", "ms", ("", 0), "create_p50_ms"),
    _queue("  with 10 000 pending, as many times", "", ("≤", 1.5), "create_crowded_ratio"),
    Line(
        "idle, all processes", "% of a core", ("<", 2), lambda c: c.idle.get("cpu_percent_in_all")
    ),
    Line("  our memory (RSS)", "MiB", ("≤", 600), lambda c: c.idle.get("our_rss_mib")),
    Line("  shared pages once (PSS)", "MiB", ("", 0), lambda c: c.idle.get("our_pss_mib")),
    _size("store items put, concurrency 16", "/s", ("≥", 1500), "store_put"),
    _size("  got", "/s", ("≥", 1500), "store_get"),
    _size("  searched", "/s", ("≥", 800), "store_search"),
    _size("search 100 000 threads, by a rare value, p50", "ms", ("≤", 20), "search_few"),
    _size("  by a common one", "ms", ("≤", 20), "search_many"),
    _size("state of a thread of 500 checkpoints, p50", "ms", ("≤", 15), "state"),
    _size("  history of 10", "ms", ("≤", 30), "history"),
    _size("run on 500 messages, CPU of a fresh one's", "×", ("≤", 1.2), "growth_cpu"),
    _size("  CPU", "ms", ("", 0), "growth_long_ms"),
    _size("  CPU of the fresh one", "ms", ("", 0), "growth_fresh_ms"),
    _size("  CPU more than that", "ms", ("", 0), "growth_more_ms"),
    _size("  stored per 140 KB of messages", "MB", ("≤", 1), "growth_bytes"),
    Line("first answered run, cold start", "s", ("≤", 15), lambda c: c.start.get("cold_s")),
    Line("first answered run, warm start", "s", ("≤", 6), lambda c: c.start.get("warm_s")),
)


def shown(columns: Sequence[Column]) -> str:
    """A Markdown table, and below it where the CPU goes. `!` marks a demand that is missed."""
    floor = next((column for column in columns if column.name == "floor"), None)
    head = ["measure", "demanded", *(column.name for column in columns)]
    rows = [head, ["---"] * len(head)]
    for line in LINES:
        values = [line.of(column) for column in columns]
        if all(value is None for value in values):
            continue
        bound = line.of(floor) if floor is not None else None
        sign, limit = line.demand
        demand = f"{sign} {limit:g} {line.unit}" if sign else line.unit
        cells = [
            _cell(line, column, value, bound) for column, value in zip(columns, values, strict=True)
        ]
        rows.append([line.title, demand, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    text = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([*text, "", *_shares(columns)])


def _cell(line: Line, column: Column, value: float | None, bound: float | None) -> str:
    if value is None:
        return "–"
    text = f"{value:.3g}" if value < 100 else f"{value:.0f}"
    if column.name == "floor":
        return text
    sign, limit = line.demand
    is_missed = (sign in ("≤", "<") and value > limit) or (sign == "≥" and value < limit)
    ratio = f" ({value / bound:.2g}×)" if bound else ""
    return f"{text}{ratio}{' !' if is_missed else ''}"


def _shares(columns: Sequence[Column]) -> list[str]:
    """CPU milliseconds per run, step or token, by process."""
    lines: list[str] = []
    for column in columns:
        for name, figures in column.loads.items():
            parts = ", ".join(f"{who} {ms:g}" for who, ms in figures.cpu_share.items() if ms)
            lines.append(f"{column.name}, {name}: CPU ms each: {parts}")
        if column.idle:
            rss = ", ".join(f"{who} {mib:g}" for who, mib in column.idle["rss_mib"].items() if mib)
            cpu = ", ".join(f"{who} {p:.2f}" for who, p in column.idle["cpu_percent"].items() if p)
            lines.append(f"{column.name}, idle: CPU %: {cpu}; RSS MiB: {rss}")
    return lines
