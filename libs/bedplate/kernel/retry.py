"""Delays between tries, with jitter from a given source of randomness."""

from __future__ import annotations

from random import Random


def retry_delay_s(attempt: int, *, rng: Random, base_s: float = 1.0, cap_s: float = 60.0) -> float:
    """Delay before retry number `attempt` (from 1), uniform in [0, min(cap_s, base_s * 2**(attempt
    - 1))].

    Full jitter, so that a thousand runs failing together do not return together.
    Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """
    if attempt < 1:
        raise ValueError("attempt counts from 1")
    ceiling = min(cap_s, base_s * 2.0 ** min(attempt - 1, 62))
    return rng.uniform(0.0, ceiling)
