"""Time as something that is given, so that a test can hold it still."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now_utc(self) -> datetime:
        """The instant now, aware, in UTC. It may jump: never subtract two of them to measure."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes backwards. Only differences mean anything."""
        ...


class SystemClock:
    def now_utc(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if at.tzinfo is None:
            raise ValueError("at must be an aware datetime")
        self._at = at.astimezone(UTC)
        self._monotonic_s = 0.0

    def now_utc(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return self._monotonic_s

    def advance(self, by_s: float) -> None:
        """Move on by `by_s` seconds (not negative)."""
        if by_s < 0:
            raise ValueError(f"by_s must not be negative, got {by_s}")
        self._at += timedelta(seconds=by_s)
        self._monotonic_s += by_s
