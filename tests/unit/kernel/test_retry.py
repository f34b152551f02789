"""Delays grow to their ceiling and are spread below it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.retry import retry_delay_s


@given(
    attempt=st.integers(1, 10**6),
    seed=st.integers(),
    base_s=st.floats(0.001, 100),
    cap_s=st.floats(0.001, 10**6),
)
def test_a_delay_is_never_negative_nor_above_its_ceiling(
    attempt: int, seed: int, base_s: float, cap_s: float
) -> None:
    delay_s = retry_delay_s(attempt, rng=Random(seed), base_s=base_s, cap_s=cap_s)
    assert 0 <= delay_s <= min(cap_s, base_s * 2.0 ** min(attempt - 1, 62))


def test_delays_are_spread_over_the_whole_range() -> None:
    rng = Random(1)
    delays = sorted(retry_delay_s(4, rng=rng, base_s=1, cap_s=60) for _ in range(2000))
    assert delays[0] < 0.1
    assert 3.5 < delays[1000] < 4.5
    assert delays[-1] > 7.9


def test_the_same_randomness_gives_the_same_delay() -> None:
    assert retry_delay_s(3, rng=Random(7)) == retry_delay_s(3, rng=Random(7))


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_count_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        retry_delay_s(attempt, rng=Random(1))
