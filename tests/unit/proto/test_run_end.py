from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from bedplate.bus.event_line import end_of, line_of
from bedplate.ledger.messages import Messages
from bedplate_proto.subjects import RunAddress


@pytest.mark.parametrize("at", [None, datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)])
@pytest.mark.parametrize("n", [0, 7])
def test_the_end_of_a_run_that_never_started_is_a_line_as_any_other(
    n: int, at: datetime | None
) -> None:
    """The scheduler's row in the outbox and an attempt's writer say it in the same bytes."""
    address = RunAddress("default", uuid4(), uuid4())
    told = Messages("bedplate").of_unstarted_end(address, n=n, finished_at=at)
    end = end_of("interrupted", error=None, values=None, finished_at=at)
    assert told.body.encode() == line_of(n, 0, "end", end)
    assert told.subject == address.stored("bedplate")
