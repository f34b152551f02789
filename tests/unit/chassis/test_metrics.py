from __future__ import annotations

import asyncio
import threading

import pytest

from bedplate.chassis.metrics import LagSampler, Metrics
from bedplate.testing.eventually import eventually


def _lines(metrics: Metrics) -> list[str]:
    return [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]


def test_metrics_are_named_after_their_facts() -> None:
    metrics = Metrics()
    metrics.counter("run.created", "Runs created.", labels=("tenant",)).labels("t").inc()
    metrics.histogram("run.finished", "Time of a run.", buckets=(1.0,)).observe(0.5)
    metrics.gauge("slots.taken", "Slots in use.", read=lambda: 3.0)
    lines = _lines(metrics)
    assert 'bedplate_run_created_total{tenant="t"} 1.0' in lines
    assert 'bedplate_run_finished_seconds_bucket{le="1.0"} 1.0' in lines
    assert "bedplate_slots_taken 3.0" in lines
    assert not [line for line in lines if "_created_created" in line or "seconds_created" in line]


def test_two_services_in_one_process_do_not_collide() -> None:
    one, other = Metrics(), Metrics()
    one.counter("run.created", "Runs created.").inc()
    other.counter("run.created", "Runs created.")
    assert "bedplate_run_created_total 0.0" in _lines(other)


@pytest.mark.parametrize("name", ["runs", "run.Created", "run.created.twice", "run-created.x"])
def test_a_name_that_is_no_fact_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"noun\.participle"):
        Metrics().counter(name, "x")


async def test_a_loop_that_stood_still_is_seen_afterwards() -> None:
    metrics = Metrics()
    sampler = LagSampler(metrics, every_s=0.01)
    sampler.start()

    def lag_s() -> float:
        (line,) = [line for line in _lines(metrics) if line.startswith("bedplate_loop_lag_seconds")]
        return float(line.split()[1])

    await asyncio.wait_for(asyncio.to_thread(lambda: None), 2)
    threading.Event().wait(0.1)  # the subject: a blocked event loop
    assert await eventually(lag_s, satisfies=lambda lag: lag >= 0.05, within_s=2) < 2
    sampler.stop()
