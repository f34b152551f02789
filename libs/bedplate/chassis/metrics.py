"""Counters, histograms and gauges of one service, named after the facts they count.

A service declares all of its metrics in one place from one `Metrics`. The registry is an object,
not the module state of prometheus_client, so that two services (or two tests) in one process do not
collide.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,  # pyright: ignore[reportUnknownVariableType]
    generate_latest,
)

_FACT = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets for waits, from a round trip to a slow model call."""

# A scrape every 15 s must not miss the second in which the loop stood still.
_LAG_WINDOW = 15


class Metrics:
    def __init__(self) -> None:
        # Otherwise `run.created` would appear as bedplate_run_created_created besides its _total.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def counter(self, fact: str, meaning: str, *, labels: Sequence[str] = ()) -> Counter:
        """`run.created` is counted as `bedplate_run_created_total`."""
        return Counter(_named(fact), meaning, labels, registry=self._registry)

    def histogram(
        self,
        fact: str,
        meaning: str,
        *,
        unit: str = "seconds",
        buckets: Sequence[float] = SECONDS,
        labels: Sequence[str] = (),
    ) -> Histogram:
        """`run.finished` in seconds is `bedplate_run_finished_seconds`."""
        name = f"{_named(fact)}_{unit}"
        return Histogram(name, meaning, labels, buckets=buckets, registry=self._registry)

    def gauge(
        self,
        name: str,
        meaning: str,
        *,
        labels: Sequence[str] = (),
        read: Callable[[], float] | None = None,
    ) -> Gauge:
        """`slots.taken` is `bedplate_slots_taken`; with `read` it is asked at each scrape."""
        gauge = Gauge(_named(name), meaning, labels, registry=self._registry)
        if read is not None:
            gauge.set_function(read)
        return gauge

    def text(self) -> bytes:
        """All of them in the Prometheus text format."""
        return generate_latest(self._registry)


class LagSampler:
    """How late the event loop is: the longest delay of a one-second timer in the last 15 s."""

    def __init__(self, metrics: Metrics, *, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._lags: deque[float] = deque([0.0], maxlen=_LAG_WINDOW)
        self._timer: asyncio.TimerHandle | None = None
        metrics.gauge(
            "loop.lag_seconds",
            "Longest time in the last 15 s for which the event loop could not run a due timer.",
            read=lambda: max(self._lags),
        )

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(
            loop.time() + self._every_s, self._sample, loop.time() + self._every_s
        )

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _sample(self, due: float) -> None:
        self._lags.append(max(0.0, asyncio.get_running_loop().time() - due))
        self.start()


def _named(fact: str) -> str:
    if not _FACT.fullmatch(fact):
        raise ValueError(f"a metric is named noun.participle in lower case, got {fact!r}")
    return "bedplate_" + fact.replace(".", "_")
