"""The bus as an AsyncAPI 3.0 document: who sends what on which subject, and what JetStream keeps.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0. What it has no words for
(streams, durable consumers, kinds of subjects) stands under `x-jetstream` and `x-kind`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bedplate_proto import envelope, streams, subjects
from bedplate_proto.envelope import CloudEvent, Fact, OrderError
from bedplate_proto.subjects import DEFAULT_PREFIX, VERSION, Kind, Subject

from .samples import sample_of
from .schemas import Model, published_name

Document = dict[str, Any]

_TOKEN = re.compile(r"{(\w+)}")
_TOKENS = {
    "tenant": "One token; `default` unless configured.",
    "thread": "A thread's id.",
    "run": "A run's id.",
    "pool": "Which executors may take it; `default`.",
    "priority": "`normal`.",
}
_KINDS = {
    Kind.ORDER: "An order: request-reply on core NATS; one of the queue group answers.",
    Kind.POLL: "A question to all: request-reply on core NATS; everybody who is there answers.",
    Kind.FACT: "A fact: a CloudEvent, kept by JetStream, at least once and in no order.",
    Kind.TICKET: "A ticket of a work queue: one consumer takes it.",
    Kind.EVENT: "A run's own events: newline-delimited JSON, one or more lines per message; a"
    f" message with the header `{envelope.CONTINUES_HEADER}` goes on with the line before it.",
    Kind.HINT: "A hint on core NATS: may be lost, and nothing depends on it.",
}
_ABOUT = (
    "How Bedplate's services talk to each other, and what others may listen to: facts and events"
    " are for subscribers from outside, the rest is between the services of one release. The first"
    " token of every subject is configurable. Orders that fail are answered with the header"
    f" `{envelope.ERROR_HEADER}`; bodies above {envelope.MESSAGE_BYTES_MAX} bytes travel by"
    f" reference (`{envelope.PARCEL_HEADER}`)."
)
_ANYTHING = "json"
_ANSWERED = (Kind.ORDER, Kind.POLL)


def document(messages: Sequence[Model]) -> Document:
    """`messages` are all that are published."""
    channels: Document = {}
    operations: Document = {}
    for subject in subjects.ALL:
        name = channel_name(subject)
        channels[name] = _channel(subject)
        if subject.kind in _ANSWERED:
            channels[f"{name}.reply"] = _reply_channel(subject)
        operations |= _operations(subject, name)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Bedplate: the bus", "version": VERSION, "description": _ABOUT},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(messages)},
        "x-jetstream": {
            "streams": [_stream(stream) for stream in streams.STREAMS],
            "consumers": [_consumer(consumer) for consumer in streams.CONSUMERS],
        },
    }


def channel_name(subject: Subject) -> str:
    """`lc.{tenant}.run.finished` → `lc.run.finished`."""
    return ".".join(part for part in subject.rest.split(".") if not part.startswith("{"))


def _channel(subject: Subject) -> Document:
    message = subject.message
    found: Document = {
        "address": f"{DEFAULT_PREFIX}.{VERSION}.{subject.rest}",
        "description": _KINDS[subject.kind],
        "messages": {published_name(message): _component(message)},
        "x-kind": subject.kind.value,
    }
    if tokens := _TOKEN.findall(subject.rest):
        found["parameters"] = {token: {"description": _TOKENS[token]} for token in tokens}
    if stream := streams.stream_of(subject):
        found["x-jetstream"] = {"stream": stream.name}
    return found


def _reply_channel(subject: Subject) -> Document:
    answer = {_ANYTHING: {"$ref": f"#/components/messages/{_ANYTHING}"}}
    if subject.answer is not None:
        answer = {published_name(subject.answer): _component(subject.answer)}
    return {
        "address": None,
        "description": "The inbox that the request names.",
        "messages": answer | {published_name(OrderError): _component(OrderError)},
    }


def _operations(subject: Subject, name: str) -> Document:
    found: Document = {}
    parties = [("send", subject.publisher), *(("receive", who) for who in subject.consumers)]
    for action, who in parties:
        operation: Document = {
            "action": action,
            "channel": {"$ref": f"#/channels/{_escaped(name)}"},
            "messages": [
                {"$ref": f"#/channels/{_escaped(name)}/messages/{published_name(subject.message)}"}
            ],
            "tags": [{"name": who}],
        }
        if subject.kind in _ANSWERED:
            operation["reply"] = {
                "address": {"location": "$message.header#/reply"},
                "channel": {"$ref": f"#/channels/{_escaped(name)}.reply"},
            }
        found[f"{who}.{action}.{name}"] = operation
    return found


def _messages(messages: Sequence[Model]) -> Document:
    found: Document = {
        _ANYTHING: {
            "title": "JSON",
            "summary": "A JSON value as the HTTP API shows it.",
            "payload": True,
        }
    }
    for message in messages:
        name = published_name(message)
        about = (message.__doc__ or "").strip().split("\n\n")[0]
        payload: Document = {"$ref": f"{name}.json"}
        example: Any = sample_of(message)
        if issubclass(message, Fact):
            payload = {
                "allOf": [
                    {"$ref": f"{published_name(CloudEvent)}.json"},
                    {"properties": {"data": payload}},
                ]
            }
            example = sample_of(CloudEvent) | {
                "type": f"{envelope.CLOUD_EVENT_TYPE_PREFIX}.{message.noun_participle}"
                f".v{message.schema_version}",
                "id": f"{example['run_id']}:{message.noun_participle}",
                "data": example,
            }
        found[name] = {
            "name": name,
            "title": message.__name__,
            **({"summary": " ".join(about.split())} if about else {}),
            "payload": payload,
            "examples": [{"payload": example}],
        }
    return found


def _stream(stream: streams.Stream) -> Document:
    return {
        "name": stream.name,
        "description": stream.description,
        "subjects": [_rooted(subject) for subject in stream.subjects],
        "retention": stream.retention,
        "discard": stream.discard,
        "age_s_max": stream.age_s_max,
        "bytes_max": stream.bytes_max,
        "messages_per_subject_max": stream.messages_per_subject_max,
        "duplicate_window_s": stream.duplicate_window_s,
        "allow_direct": stream.allow_direct,
        "republish": None
        if stream.republish is None
        else {"source": _rooted(stream.republish[0]), "destination": _rooted(stream.republish[1])},
    }


def _consumer(consumer: streams.Consumer) -> Document:
    return {
        "stream": consumer.stream,
        "name": consumer.name,
        "filter": _rooted(consumer.filter),
        "ack_wait_s": consumer.ack_wait_s,
        "ack_pending_max": consumer.ack_pending_max,
        "deliver_max": consumer.deliver_max,
    }


def _component(message: Model) -> Document:
    return {"$ref": f"#/components/messages/{published_name(message)}"}


def _rooted(subject: str) -> str:
    return f"{DEFAULT_PREFIX}.{VERSION}.{subject}"


def _escaped(name: str) -> str:
    """For a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
