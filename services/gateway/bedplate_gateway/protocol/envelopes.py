"""Events of a thread as the protocol's envelopes, the same on every connection and gateway.

A worker writes a protocol event's `method` and `params` into the run's log; here its number becomes
`seq`, and an id is added where it has none, without parsing what is in it. The root's terminal
lifecycle is made of the `end` line. Runs of the older kind are shown too (`translation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

import orjson
from pydantic_core import from_json

from bedplate.bus.event_line import Event
from bedplate_proto.vocabulary import RunStatus

from .run_facts import RunFacts

_METHOD = b'{"method":"'
_NAMESPACE = b'"namespace":'
_TIMESTAMP = b',"timestamp":'
_EVENT_ID = b',"event_id":'

# What `graphs.failures` says of an answer that was refused.
_WHY = ("reason", "interrupt_ids", "pending_ids")

State = Literal["running", "completed", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """`text` is the whole event; `namespace` its JSON. `is_placed`: `n` is that of the event before
    it, so it may be news to who has seen everything up to `n`."""

    n: int
    method: bytes
    namespace: bytes
    text: bytes
    is_placed: bool = False

    def comes_after(self, n: int) -> bool:
        return self.n > n or (self.is_placed and self.n == n)

    @property
    def frame(self) -> bytes:
        """For server-sent events."""
        return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (self.method, self.text, self.n)


def envelope_of_line(n: int, data: bytes) -> Envelope:
    """Of `{"method","params":{"namespace","timestamp",…},"event_id"?}`. Raises `ValueError`."""
    if not data.startswith(_METHOD):
        raise ValueError("not a protocol event")
    method_end = data.index(b'"', len(_METHOD))
    namespace_at = data.index(_NAMESPACE, method_end) + len(_NAMESPACE)
    # An unescaped quote cannot occur in a JSON text's strings: the first place is the right one.
    namespace = data[namespace_at : data.index(_TIMESTAMP, namespace_at)]
    event_id, end = b'"%d-0"' % n, len(data) - 1
    if data.endswith(b'"}'):
        # The last member is a text, so it is not `params`.
        end = data.rindex(_EVENT_ID)
        event_id = data[end + len(_EVENT_ID) : -1]
    return Envelope(
        n=n,
        method=data[len(_METHOD) : method_end],
        namespace=namespace,
        text=b'{"type":"event","event_id":%b,"seq":%d,%b}' % (event_id, n, data[1:end]),
    )


def made(
    n: int, method: str, data: bytes, *, at_ms: int, event_id: str = "", namespace: bytes = b"[]"
) -> Envelope:
    """One that no worker wrote; `data` is JSON."""
    shown_id = orjson.dumps(event_id or f"{n}-0")
    text = (
        b'{"type":"event","event_id":%b,"seq":%d,"method":"%b",'
        b'"params":{"namespace":%b,"timestamp":%d,"data":%b}}'
        % (shown_id, n, method.encode(), namespace, at_ms, data)
    )
    return Envelope(n=n, method=method.encode(), namespace=namespace, text=text)


def root_lifecycle(
    n: int,
    run_id: str,
    state: State,
    *,
    graph: str | None,
    at_ms: int,
    failure: Mapping[str, Any] | None = None,
) -> Envelope:
    """`failure` is told beside the state."""
    data: dict[str, Any] = {"event": state}
    if graph is not None:
        data["graph_name"] = graph
    data |= failure or {}
    event_id = f"synth:{run_id}:lc||{state}"
    return made(n, "lifecycle", orjson.dumps(data), at_ms=at_ms, event_id=event_id)


def terminal_of(event: Event, facts: RunFacts) -> Envelope:
    """Of a run's `end`: `{"status","graph","waits","finished_at","error","values"}`."""
    end: dict[str, Any] = from_json(event.data)
    status, error = RunStatus(end["status"]), end.get("error")
    state: State = "interrupted"
    failure: dict[str, Any] = {}
    if status is RunStatus.SUCCESS:
        state = "interrupted" if end.get("waits") else "completed"
    elif status in (RunStatus.ERROR, RunStatus.TIMEOUT):
        state = "failed"
        failure = _failure(error)
    graph = end.get("graph") or facts.graph_id
    # When the row says it ended, which is the same for those who are told from the row.
    at_ms = ms_of(end.get("finished_at") or event.at)
    envelope = root_lifecycle(
        event.n, event.run_id, state, graph=graph, at_ms=at_ms, failure=failure
    )
    return replace(envelope, is_placed=event.is_placed)


def _failure(error: Any) -> dict[str, Any]:
    """The error's text, and of an answer that was refused what was wrong with it."""
    if not isinstance(error, dict):
        return {"error": "the run failed"}
    told = cast("dict[str, Any]", error)
    why = {key: told[key] for key in _WHY if key in told}
    return {"error": str(told.get("message", "")), **why}


def ms_of(at: str) -> int:
    """When an event was stored, in unix milliseconds; 0 if that is not known."""
    return int(datetime.fromisoformat(at).timestamp() * 1000) if at else 0
