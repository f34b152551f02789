"""May this run start now? The whole table."""

from __future__ import annotations

from itertools import product

import pytest

from bedplate.kernel.admission import Decision, Request, ThreadFacts, admit
from bedplate_proto.vocabulary import IfNotExists, MultitaskStrategy

STRATEGIES = (
    MultitaskStrategy.ENQUEUE,
    MultitaskStrategy.REJECT,
    MultitaskStrategy.INTERRUPT,
    MultitaskStrategy.ROLLBACK,
)
MISSING, FREE, OCCUPIED = ThreadFacts
CREATE, REJECT = IfNotExists
D = Decision
# (facts, if the thread is not there, delayed): what each strategy decides.
TABLE = {
    (MISSING, CREATE, False): (D.START_ON_NEW_THREAD,) * 4,
    (MISSING, CREATE, True): (D.WAIT_ON_NEW_THREAD,) * 4,
    (MISSING, REJECT, False): (D.REFUSE_MISSING,) * 4,
    (MISSING, REJECT, True): (D.REFUSE_MISSING,) * 4,
    (FREE, CREATE, False): (D.START,) * 4,
    (FREE, CREATE, True): (D.WAIT,) * 4,
    (FREE, REJECT, False): (D.START,) * 4,
    (FREE, REJECT, True): (D.WAIT,) * 4,
    (OCCUPIED, CREATE, False): (D.WAIT, D.REFUSE_BUSY, D.DISPLACE, D.DISPLACE),
    (OCCUPIED, CREATE, True): (D.WAIT, D.REFUSE_BUSY, D.DISPLACE, D.DISPLACE),
    (OCCUPIED, REJECT, False): (D.WAIT, D.REFUSE_BUSY, D.DISPLACE, D.DISPLACE),
    (OCCUPIED, REJECT, True): (D.WAIT, D.REFUSE_BUSY, D.DISPLACE, D.DISPLACE),
}


def test_the_table_is_whole() -> None:
    assert set(STRATEGIES) == set(MultitaskStrategy)
    assert set(TABLE) == set(product(ThreadFacts, IfNotExists, (False, True)))


@pytest.mark.parametrize(("case", "expected"), TABLE.items())
def test_a_run_is_admitted_as_the_table_says(
    case: tuple[ThreadFacts, IfNotExists, bool], expected: tuple[Decision, ...]
) -> None:
    facts, if_not_exists, is_delayed = case
    decisions = tuple(
        admit(facts, Request(strategy, if_not_exists, is_delayed)) for strategy in STRATEGIES
    )
    assert decisions == expected
