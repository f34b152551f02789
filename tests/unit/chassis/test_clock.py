from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bedplate.chassis.clock import Clock, ManualClock, SystemClock


def test_the_system_clock_is_aware_and_monotonic() -> None:
    clock: Clock = SystemClock()
    assert clock.now_utc().utcoffset() == timedelta(0)
    assert clock.monotonic() <= clock.monotonic()


def test_a_manual_clock_moves_only_when_told() -> None:
    clock: Clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert clock.now_utc() == clock.now_utc() == datetime(2026, 3, 1, tzinfo=UTC)
    clock.advance(90)
    assert clock.now_utc() == datetime(2026, 3, 1, 0, 1, 30, tzinfo=UTC)
    assert clock.monotonic() == 90


def test_a_manual_clock_goes_neither_back_nor_without_a_zone() -> None:
    with pytest.raises(ValueError, match="by_s"):
        ManualClock().advance(-1)
    with pytest.raises(ValueError, match="aware"):
        ManualClock(datetime(2026, 3, 1))
