"""What the dispatcher counts."""

from __future__ import annotations

from bedplate.chassis.metrics import Metrics
from bedplate.ledger.deliveries import Verdict


class Tally:
    """`outcome`: delivered, pending (to be tried again) or dead."""

    def __init__(self, metrics: Metrics) -> None:
        self._tries = metrics.counter(
            "webhook.tries", "Tries of deliveries, by outcome.", labels=("outcome",)
        )
        self._deliveries = metrics.counter(
            "webhook.deliveries", "Deliveries that are settled, by outcome.", labels=("outcome",)
        )
        self._took = metrics.histogram("webhook.tried", "How long a try took.")

    def tried(self, verdict: Verdict, took_s: float) -> None:
        self._tries.labels(verdict.status).inc()
        self._took.observe(took_s)

    def settled(self, verdict: Verdict) -> None:
        if verdict.status != "pending":
            self._deliveries.labels(verdict.status).inc()
