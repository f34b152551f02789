"""One event as one line of JSON, written and cut apart without parsing its data.

`{"n":12,"attempt":1,"event":"updates","data":{…}}`, in this order and without spaces: the reader
finds the parts by their fixed neighbours, so that a token's JSON is made once in the worker and
never parsed again on its way. The name is a JSON text (node names may hold anything); an unescaped
quote cannot occur in it, so `","data":` ends it for certain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import orjson

# Clients send it back as a header, so it may hold anything.
_ID = re.compile(r"([0-9]{1,18})(?:-([0-9]{0,18}))?")
_N = b'{"n":'
_ATTEMPT = b',"attempt":'
_EVENT = b',"event":"'
_DATA = b'","data":'


@dataclass(frozen=True, slots=True)
class Event:
    """`data` is JSON text. `sequence` is where its line begins in the stream, 0 if made from the
    row; `at` is when it was stored there, RFC 3339. `is_placed`: it has no number of its own, `n`
    is that of the event before it."""

    n: int
    attempt: int
    name: str
    data: bytes
    sequence: int = 0
    run_id: str = ""
    at: str = ""
    is_placed: bool = False

    @property
    def id(self) -> str:
        """The SSE id: the number decides, the sequence is a hint where to read on."""
        return f"{self.n}-{self.sequence}"


def line_of(n: int, attempt: int, name: str, data: bytes) -> bytes:
    """The event's line with its line feed."""
    return b'{"n":%d,"attempt":%d,"event":%b,"data":%b}\n' % (n, attempt, orjson.dumps(name), data)


def end_of(
    status: str,
    *,
    error: bytes | None,
    values: bytes | None,
    finished_at: datetime | None,
    graph: str | None = None,
    waits: bool = False,
    values_n: int | None = None,
) -> bytes:
    """Data of the `end` event: `{"status", "graph", "waits", "finished_at", "values_n", "error",
    "values"}`, in this order.

    `error` and `values` are JSON. `values_n` is the number of the `values` event that tells the
    values, where they are too long to be told twice; then `values` is None. `graph` is the graph's
    id, None for a run that never started; `waits`: something is left to do in the thread (an
    interrupt, a breakpoint). `finished_at` is that of the run's row: whoever tells of the end from
    the row tells the same instant. None: the row is gone.
    """
    return (
        b'{"status":"%b","graph":%b,"waits":%b,"finished_at":%b,"values_n":%b,'
        b'"error":%b,"values":%b}'
    ) % (
        status.encode(),
        orjson.dumps(graph),
        b"true" if waits else b"false",
        orjson.dumps(None if finished_at is None else finished_at.isoformat()),
        orjson.dumps(values_n),
        b"null" if error is None else error,
        b"null" if values is None else values,
    )


def event_of(line: bytes, sequence: int, *, run_id: str = "", at: str = "") -> Event:
    """The event of a line without its line feed. Raises `ValueError` for anything `line_of` does
    not write."""
    if not (line.startswith(_N) and line.endswith(b"}")):
        raise ValueError("not a whole event")
    attempt_at = line.index(_ATTEMPT)
    event_at = line.index(_EVENT, attempt_at)
    name_at = event_at + len(_EVENT)
    data_at = line.index(_DATA, name_at)
    name = orjson.loads(line[name_at - 1 : data_at + 1])
    return Event(
        n=int(line[len(_N) : attempt_at]),
        attempt=int(line[attempt_at + len(_ATTEMPT) : event_at]),
        name=name,
        data=line[data_at + len(_DATA) : -1],
        sequence=sequence,
        run_id=run_id,
        at=at,
    )


def position_of(event_id: str) -> tuple[int, int] | None:
    """`(n, sequence)` of an SSE id, None if it is not one of ours."""
    match = _ID.fullmatch(event_id)
    return (int(match[1]), int(match[2] or 0)) if match else None
