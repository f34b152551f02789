"""Events of the log as envelopes, also those of runs that were not started over the protocol."""

from __future__ import annotations

from typing import Any, cast

import orjson
from pydantic_core import from_json

from bedplate.bus.event_line import Event
from bedplate.chassis.log import get_logger
from bedplate_proto.vocabulary import EventName

from ..json_text import dumped
from .envelopes import Envelope, envelope_of_line, made, ms_of, root_lifecycle, terminal_of
from .run_facts import RunFacts

log = get_logger()

_INTERRUPT = "__interrupt__"
_PLAIN = frozenset({"values", "updates", "tasks"})
# What every message has.
_ALWAYS = frozenset({"type", "content", "id"})


def envelopes_of(event: Event, facts: RunFacts) -> list[Envelope]:
    """What subscribers see of one event of the log."""
    try:
        if event.name == EventName.PROTOCOL:
            return [envelope_of_line(event.n, event.data)]
        if event.name == EventName.END:
            return [terminal_of(event, facts)]
        return [] if facts.speaks_protocol else _translated(event, facts)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("event.untranslated", run_id=event.run_id, n=event.n, why=repr(error))
        return []


def _translated(event: Event, facts: RunFacts) -> list[Envelope]:
    """None for what has no channel: token deltas of older forms, events, debug."""
    kind, *namespace = event.name.split("|")
    if kind == EventName.METADATA:
        running = root_lifecycle(
            event.n, event.run_id, "running", graph=facts.graph_id, at_ms=ms_of(event.at)
        )
        # A later attempt goes on with the same run.
        return [running] if event.attempt == 1 else []
    if kind in _PLAIN:
        return _with_interrupts(event, kind, namespace)
    if kind == "custom":
        return [_made(event, kind, namespace, b'{"payload":%b}' % event.data)]
    if kind == "checkpoints":
        return _checkpoint(event, namespace)
    return []


def _made(
    event: Event, method: str, namespace: list[str], data: bytes, *, event_id: str = ""
) -> Envelope:
    return made(
        event.n,
        method,
        data,
        at_ms=ms_of(event.at),
        event_id=event_id,
        namespace=orjson.dumps(namespace),
    )


def _with_interrupts(event: Event, kind: str, namespace: list[str]) -> list[Envelope]:
    if kind == "tasks":
        return [_made(event, kind, namespace, event.data)]
    data: Any = from_json(event.data)
    found: list[Any] = []
    if isinstance(data, dict):
        given = cast("dict[str, Any]", data).pop(_INTERRUPT, None)
        found = cast("list[Any]", given) if isinstance(given, list) else []
    # Asked first: they share a number, and what a cut between them loses must not be the question.
    envelopes = [
        _made(
            event,
            "input.requested",
            namespace,
            question(one),
            event_id=f"synth:{event.run_id}:input|{_joined(namespace)}|{one['id']}",
        )
        for one in found
        if isinstance(one, dict) and "id" in one
    ]
    if data or not found:
        envelopes.append(_made(event, kind, namespace, dumped(shown(data)).encode()))
    return envelopes


def _checkpoint(event: Event, namespace: list[str]) -> list[Envelope]:
    payload: Any = from_json(event.data)
    checkpoint_id = payload["config"]["configurable"]["checkpoint_id"]
    parent = ((payload.get("parent_config") or {}).get("configurable") or {}).get("checkpoint_id")
    about: dict[str, Any] = {"id": checkpoint_id}
    if parent is not None:
        about["parent_id"] = parent
    metadata = payload.get("metadata") or {}
    about |= {"step": metadata.get("step"), "source": metadata.get("source")}
    event_id = f"synth:{event.run_id}:checkpoint|{_joined(namespace)}|{checkpoint_id}"
    return [_made(event, "checkpoints", namespace, orjson.dumps(about), event_id=event_id)]


def question(interrupt: Any) -> bytes:
    """One client reads `payload`, another one `value`."""
    value = interrupt.get("value")
    about = {"interrupt_id": interrupt["id"], "payload": value, "value": value}
    if interrupt.get("response_schema") is not None:
        about["response_schema"] = interrupt["response_schema"]
    return dumped(about).encode()


def shown(value: Any) -> Any:
    """State with its messages as the protocol shows them: what is empty is left out."""
    if isinstance(value, list):
        return [shown(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value)
    is_message = isinstance(members.get("type"), str) and "content" in members and "id" in members
    if not is_message:
        return {key: shown(item) for key, item in members.items()}
    return {key: item for key, item in members.items() if key in _ALWAYS or item}


def _joined(namespace: list[str]) -> str:
    return "\x00".join(namespace)
