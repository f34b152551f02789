"""One sample per message, made from its fields: the same every time, valid, and readable."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bedplate_proto.envelope import CloudEvent, cloud_event
from bedplate_proto.runs import RunFinished
from bedplate_proto.vocabulary import DEFAULT_TENANT

Model = type[BaseModel]

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# What a field of this name holds, where its type alone would say too little.
_KNOWN: dict[str, Any] = {
    "tenant": DEFAULT_TENANT,
    "graph_id": "agent",
    "kwargs": '{"input": {"messages": [{"role": "user", "content": "hello"}]}}',
    "metadata": '{"owner": "me"}',
    "assistant_metadata": "{}",
    "thread_metadata": "{}",
    "thread_config": "{}",
    "payload": '{"assistant_id": "agent", "schedule": "0 9 * * 1-5"}',
    "schedule": "0 9 * * 1-5",
    "timezone": "Europe/Berlin",
    "kind": "conflict",
    "message": "Thread is already running a task.",
    "event": "updates",
    "webhook": "https://example.com/hook",
    "namespace": "child:1",
    "name": "agent",
    "description": "Answers questions.",
    "as_node": "model",
    "status": "success",
    "error": {"error": "ValueError", "message": "no such ticket"},
    "data": {"model": {"messages": []}},
    "values": {"topic": "refund"},
    "config": {"configurable": {"language": "en"}},
    "context": {},
    "checkpoint": {"checkpoint_ns": ""},
    "before": "1f0a2b3c-0000-6000-8000-000000000000",
    "superstep": {"updates": [{"values": {"topic": "refund"}, "as_node": "model"}]},
    "ids": {"thread_id": "a3160065-2f40-5edc-a5d4-767213d81ca5"},
}


def sample_of(message: Model) -> dict[str, Any]:
    """A valid message as JSON values."""
    if message is CloudEvent:
        return _event()
    return _model(message).model_dump(mode="json")


def _event() -> dict[str, Any]:
    fact = RunFinished.model_validate(sample_of(RunFinished))
    event = cloud_event(
        fact,
        event_id=f"{fact.run_id}:{fact.noun_participle}",
        tenant=DEFAULT_TENANT,
        source=f"/threads/{fact.thread_id}/runs/{fact.run_id}",
        at=AT,
    )
    return event.model_dump(mode="json")


def _model(message: Model) -> BaseModel:
    return message.model_validate(
        {name: _field(name, field) for name, field in message.model_fields.items()}
    )


def _field(name: str, field: FieldInfo) -> Any:
    least = next((each.ge for each in field.metadata if hasattr(each, "ge")), None)
    return _value(name, field.annotation, least)


def _value(name: str, kind: Any, least: Any = None) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        return _value(name, get_args(kind)[0], least)
    if origin in (Union, UnionType):
        first = next(each for each in get_args(kind) if each is not NoneType)
        return _value(name, first, least)
    if origin is Literal:
        return get_args(kind)[0]
    if origin is list:
        return [_value(name.removesuffix("s"), get_args(kind)[0])]
    if kind is Any or origin is dict or kind is dict:
        return _known(name, dict, {"key": "value"})
    return _plain(name, kind, least)


def _plain(name: str, kind: Any, least: Any) -> Any:
    if kind is UUID:
        return uuid5(NAMESPACE_URL, f"bedplate:{name}")
    if kind is datetime:
        return AT
    if kind is bool:
        return False
    if kind in (int, float):
        return kind(max(1, least or 0))
    if kind is str:
        return _known(name, str, name)
    if issubclass(kind, StrEnum):
        return kind(_KNOWN.get(name, next(iter(kind))))
    # Reached only when a new message has a field of a new kind.
    assert issubclass(kind, BaseModel), f"{name}: no sample of {kind} is known"
    return _model(kind)


def _known(name: str, kind: type, otherwise: Any) -> Any:
    """The same name may be text in one message and an object in another."""
    found = _KNOWN.get(name)
    return found if isinstance(found, kind) else otherwise
