"""What is measured, how often, and how the samples of one measure become its numbers.

Both sides use the same loads: the floor (the bare library) and the product (the whole stack).
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

STEPS = 20
TOKENS = 200

Job = Callable[[int], Awaitable[None]]
"""One unit of load, executed by slot number 0, 1, … of the concurrency."""


@dataclass(frozen=True)
class Load:
    """`count` jobs, `concurrency` at a time, `repeats` times. `is_at_once`: the product gets a slot
    for each of them, instead of its default number."""

    name: str
    graph: str
    concurrency: int
    count: int
    is_at_once: bool = False

    @property
    def units(self) -> int:
        """What the rate counts: runs, super-steps or tokens."""
        return self.count * {"noop": 1, "steps": STEPS, "tokens": TOKENS}[self.graph]


LOADS = (
    Load("noop-1", "noop", 1, 100),
    Load("noop-16", "noop", 16, 400),
    Load("noop-64", "noop", 64, 640),
    Load("steps-16", "steps", 16, 64),
    Load("tokens-1", "tokens", 1, 30),
    Load("tokens-16", "tokens", 16, 64),
    Load("tokens-64", "tokens", 64, 128, is_at_once=True),
)
INPUTS: dict[str, dict[str, Any]] = {
    "noop": {},
    "steps": {"steps": STEPS},
    "tokens": {"n": TOKENS},
}


@dataclass
class Sample:
    """One repetition of a load. `cpu_s` per group of processes; `latencies_s` per job."""

    wall_s: float
    cpu_s: dict[str, float]
    latencies_s: list[float] = field(repr=False)
    first_tokens_s: list[float] = field(default_factory=list[float], repr=False)
    commits: int = 0
    """Transactions that wrote checkpoints."""
    transactions: int = 0
    """Transactions that wrote anything."""


@dataclass
class Figures:
    """Of a load on one side. Wall figures are of the best repetition, because other work on the
    machine only ever slows it down; CPU and commits are the median."""

    name: str
    rate: float
    p50_ms: float
    p95_ms: float
    first_token_ms: float
    cpu_ms_per_unit: float
    cpu_share: dict[str, float]
    commits_per_unit: float
    transactions_per_unit: float


def figures_of(load: Load, samples: list[Sample]) -> Figures:
    best = min(samples, key=lambda sample: sample.wall_s)
    cpu = sorted(samples, key=lambda sample: sum(sample.cpu_s.values()))[len(samples) // 2]
    ordered = sorted(best.latencies_s)
    first = [statistics.median(s.first_tokens_s) for s in samples if s.first_tokens_s]
    return Figures(
        name=load.name,
        rate=load.units / best.wall_s,
        p50_ms=1e3 * statistics.median(ordered),
        p95_ms=1e3 * ordered[int(0.95 * (len(ordered) - 1))],
        first_token_ms=1e3 * min(first, default=0.0),
        cpu_ms_per_unit=1e3 * sum(cpu.cpu_s.values()) / load.units,
        cpu_share={name: round(1e3 * s / load.units, 3) for name, s in cpu.cpu_s.items()},
        commits_per_unit=statistics.median(s.commits for s in samples) / load.units,
        transactions_per_unit=statistics.median(s.transactions for s in samples) / load.units,
    )


async def run_jobs(load: Load, job: Job) -> tuple[float, list[float]]:
    """All jobs of a load; the seconds they took together, and each."""
    left = iter(range(load.count))
    latencies: list[float] = []

    async def work(slot: int) -> None:
        for _ in left:
            began = perf_counter()
            await job(slot)
            latencies.append(perf_counter() - began)

    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for slot in range(load.concurrency):
            group.create_task(work(slot))
    return perf_counter() - began, latencies


async def span(seconds: float) -> None:
    """Nothing to wait for: the span itself is what is measured."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)
