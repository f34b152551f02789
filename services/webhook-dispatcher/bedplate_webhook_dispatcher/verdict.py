"""What follows from how a try went. Pure: time is in the delivery, randomness is given."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bedplate.kernel.retry import retry_delay_s
from bedplate.ledger.deliveries import Due, Verdict

from .courier import Answered, Barred, Failed, Result

# What a receiver may say today and not tomorrow; every 5xx too.
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Patience:
    """Delays double from `base_s` to `delay_s_max`; after `window_s` a delivery is given up."""

    window_s: float
    base_s: float
    delay_s_max: float


def verdict_of(result: Result, due: Due, *, patience: Patience, rng: Random) -> Verdict:
    match result:
        case Answered(code) if 200 <= code < 300:
            return Verdict("delivered", status_code=code)
        case Answered(code, retry_after_s) if code in _PASSING or code >= 500:
            return _again(
                due, f"HTTP {code}", code, patience=patience, rng=rng, at_least_s=retry_after_s
            )
        case Answered(code):
            return Verdict("dead", status_code=code, error=f"HTTP {code}")
        case Failed(why):
            return _again(due, why, None, patience=patience, rng=rng, at_least_s=None)
        case Barred(why):
            return Verdict("dead", error=why)


def _again(
    due: Due,
    why: str,
    code: int | None,
    *,
    patience: Patience,
    rng: Random,
    at_least_s: float | None,
) -> Verdict:
    delay_s = retry_delay_s(
        due.tries_of_round, rng=rng, base_s=patience.base_s, cap_s=patience.delay_s_max
    )
    # A receiver may ask for more time, not for more than we would take by ourselves.
    delay_s = max(delay_s, min(at_least_s or 0.0, patience.delay_s_max))
    if due.age_s + delay_s > patience.window_s:
        return Verdict("dead", status_code=code, error=why)
    return Verdict("pending", retry_s=delay_s, status_code=code, error=why)
