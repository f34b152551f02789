"""Seeded schedules of crash, delay, loss, double and disorder keep every invariant.

More seeds: `BEDPLATE_TEST_SEEDS=20000`; one again: `BEDPLATE_TEST_SEED=<number>`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from bedplate.kernel import run as kernel
from bedplate.kernel.run import Run
from bedplate.testing.simulated_ledger import Moves
from bedplate_proto.vocabulary import RunStatus

SEEDS = int(os.environ.get("BEDPLATE_TEST_SEEDS", "400"))
SEED = os.environ.get("BEDPLATE_TEST_SEED")


def seeds() -> list[int]:
    return [int(SEED)] if SEED else [Random().randrange(2**32) for _ in range(SEEDS)]


def test_whatever_fails_every_run_comes_to_one_end_in_order_and_alone(
    world: Callable[..., Any],
) -> None:
    for seed in seeds():
        history = world(seed)
        try:
            history.run()
        except AssertionError as error:
            last = ", ".join(history.steps[-30:])
            pytest.fail(f"BEDPLATE_TEST_SEED={seed}: {error}\nafter {len(history.steps)}: {last}")


def test_the_schedules_reach_every_end_and_every_fault(world: Callable[..., Any]) -> None:
    """Otherwise the test above would prove little."""
    statuses: set[RunStatus] = set()
    steps: set[str] = set()
    rolled_back = exhausted = resumed = 0
    for seed in range(60):
        history = world(seed)
        history.run()
        steps |= set(history.steps)
        for row in history.truth.rows:
            rolled_back += row.is_gone
            statuses |= set() if row.is_gone else {row.run.status}
            exhausted += row.run.failures == 3
            resumed += row.run.attempt > 1
    assert statuses == {status for status in RunStatus if status.is_terminal}
    assert min(rolled_back, exhausted, resumed) > 10
    assert len(steps) == 16


def unfenced_finish(run: Run, attempt: int, ending: Any) -> Any:
    del attempt
    return kernel.finish(run, run.attempt, ending)


def unfenced_lose(run: Run, attempt: int, *, failures_max: int) -> Any:
    del attempt
    return kernel.lose(run, run.attempt, failures_max=failures_max)


def claim_again(run: Run) -> Any:
    return replace(run, status=RunStatus.RUNNING, attempt=run.attempt + 1)


def claim_without_number(run: Run) -> Any:
    move = kernel.claim(run)
    return replace(move, attempt=max(1, run.attempt)) if isinstance(move, Run) else move


def finish_twice(run: Run, attempt: int, ending: Any) -> Any:
    return kernel.finish(replace(run, status=RunStatus.RUNNING), attempt, ending)


def cancel_ends_what_was_begun(run: Run, action: Any) -> Any:
    return kernel.cancel(replace(run, attempt=0), action)


def endless_lose(run: Run, attempt: int, *, failures_max: int) -> Any:
    return kernel.lose(run, attempt, failures_max=failures_max + 100)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("claim", claim_again),
        ("claim", claim_without_number),
        ("finish", finish_twice),
        ("finish", unfenced_finish),
        ("lose", unfenced_lose),
        ("cancel", cancel_ends_what_was_begun),
        ("lose", endless_lose),
    ],
)
def test_a_broken_move_is_noticed(
    world: Callable[..., Any], name: str, broken: Callable[..., Any]
) -> None:
    """The invariants are worth something: each of these breaks one within a few schedules."""
    moves = Moves(**{name: broken})
    with pytest.raises(AssertionError):
        for seed in range(200):
            world(seed, moves).run()
