"""May this run start now? The whole table."""

from __future__ import annotations

from itertools import product

import pytest

from bedplate.kernel.admission import Decision, Request, ThreadFacts, admit
from bedplate_proto.vocabulary import IfNotExists, MultitaskStrategy

DECIDED = (MultitaskStrategy.ENQUEUE, MultitaskStrategy.REJECT)
MISSING, FREE, OCCUPIED = ThreadFacts
CREATE, REJECT = IfNotExists
D = Decision
# (facts, if the thread is not there, delayed): what enqueue and reject decide.
TABLE = {
    (MISSING, CREATE, False): (D.START_ON_NEW_THREAD, D.START_ON_NEW_THREAD),
    (MISSING, CREATE, True): (D.WAIT_ON_NEW_THREAD, D.WAIT_ON_NEW_THREAD),
    (MISSING, REJECT, False): (D.REFUSE_MISSING, D.REFUSE_MISSING),
    (MISSING, REJECT, True): (D.REFUSE_MISSING, D.REFUSE_MISSING),
    (FREE, CREATE, False): (D.START, D.START),
    (FREE, CREATE, True): (D.WAIT, D.WAIT),
    (FREE, REJECT, False): (D.START, D.START),
    (FREE, REJECT, True): (D.WAIT, D.WAIT),
    (OCCUPIED, CREATE, False): (D.WAIT, D.REFUSE_BUSY),
    (OCCUPIED, CREATE, True): (D.WAIT, D.REFUSE_BUSY),
    (OCCUPIED, REJECT, False): (D.WAIT, D.REFUSE_BUSY),
    (OCCUPIED, REJECT, True): (D.WAIT, D.REFUSE_BUSY),
}


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(product(ThreadFacts, IfNotExists, (False, True)))


@pytest.mark.parametrize(("case", "expected"), TABLE.items())
def test_a_run_is_admitted_as_the_table_says(
    case: tuple[ThreadFacts, IfNotExists, bool], expected: tuple[Decision, Decision]
) -> None:
    facts, if_not_exists, is_delayed = case
    decisions = tuple(
        admit(facts, Request(strategy, if_not_exists, is_delayed)) for strategy in DECIDED
    )
    assert decisions == expected
