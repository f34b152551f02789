"""How a run ended, cut out of its end event without parsing it."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from bedplate.bus.event_line import end_of
from bedplate_gateway.ending import ending_of, failure
from bedplate_proto.vocabulary import RunStatus


@pytest.mark.parametrize(
    "values",
    [
        b'{"a":1}',
        b'{"error":1,"values":{"values":[],"error":null}}',
        b'{"t":",\\"values\\":\\",\\"error\\":"}',
        b"[1,2]",
    ],
)
@pytest.mark.parametrize(
    "error", [None, b'{"error":"ValueError","message":",\\"values\\":null,\\"error\\":1"}']
)
def test_parts_come_out_as_they_went_in(values: bytes, error: bytes | None) -> None:
    end = end_of(
        RunStatus.SUCCESS,
        error=error,
        values=values,
        finished_at=datetime.now(UTC),
        graph='g","error":',
        waits=True,
    )
    orjson.loads(end)
    ending = ending_of(end)
    assert (ending.status, ending.error, ending.values) == (RunStatus.SUCCESS, error, values)


def test_what_is_not_there_is_none() -> None:
    ending = ending_of(
        end_of(RunStatus.INTERRUPTED, error=None, values=None, finished_at=None, graph="g")
    )
    assert (ending.error, ending.values, ending.is_failure) == (None, None, False)


def test_a_waiter_is_told_of_a_failure_in_any_case() -> None:
    assert orjson.loads(failure(b'{"error":"X"}')) == {"__error__": {"error": "X"}}
    assert orjson.loads(failure(None))["__error__"]["error"] == "Error"
