"""The table of who talks to whom is whole, and true to what the services serve."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from typing import Any

import pytest

from bedplate.bus.serving import Hint, Listen, Order, Poll
from bedplate_proto import streams, subjects
from bedplate_proto.envelope import Fact
from bedplate_proto.streams import CONSUMERS, STREAMS
from bedplate_proto.subjects import EXECUTOR, GATEWAY, SCHEDULER, WEBHOOKS, Kind, Subject

# What a service takes from the bus without a route: its work queue and its streams of events.
PULLED = {Kind.TICKET, Kind.EVENT}
DEPLOYED = {
    SCHEDULER: "bedplate_run_scheduler",
    EXECUTOR: "bedplate_executor",
    GATEWAY: "bedplate_gateway",
    WEBHOOKS: "bedplate_webhook_dispatcher",
}


class AnyVerb:
    """Stands for the domain object that `routes` binds."""

    def __getattr__(self, name: str) -> Any:
        async def verb(message: Any) -> None:
            del message

        return verb


def matches(pattern: str, subject: str) -> bool:
    """Whether a stream's or consumer's pattern can match a subject, both without prefix."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        given = given[: len(wanted) - 1]
        wanted.pop()
    return len(wanted) == len(given) and all(
        part == "*" or token.startswith("{") or part == token
        for part, token in zip(wanted, given, strict=True)
    )


def served(service: str) -> Sequence[Order | Listen | Hint]:
    module = import_module(f"{DEPLOYED[service]}.routes")
    return module.routes(*(AnyVerb() for _ in signature(module.routes).parameters))


def test_every_subject_of_the_module_is_in_the_table_once() -> None:
    counts = Counter(subject.rest for subject in subjects.ALL)
    assert [rest for rest, count in counts.items() if count > 1] == []
    assert len(subjects.ALL) == sum(isinstance(value, Subject) for value in vars(subjects).values())


@pytest.mark.parametrize("subject", subjects.ALL, ids=lambda subject: subject.rest)
def test_a_subject_has_one_publisher_and_the_consumers_its_kind_allows(subject: Subject) -> None:
    assert subject.publisher
    assert subject.consumers
    assert len(set(subject.consumers)) == len(subject.consumers)
    if subject.kind in (Kind.ORDER, Kind.TICKET):
        assert len(subject.consumers) == 1
    if subject.kind in (Kind.ORDER, Kind.POLL):
        assert subject.rest.startswith(f"rpc.{subject.consumers[0]}.")
    else:
        assert subject.answer is None
    assert (subject.kind is Kind.FACT) == issubclass(subject.message, Fact)
    if issubclass(subject.message, Fact):
        assert subject.rest == f"lc.{{tenant}}.{subject.message.noun_participle}"


@pytest.mark.parametrize("subject", subjects.ALL, ids=lambda subject: subject.rest)
def test_what_must_be_stored_is_in_exactly_one_stream_and_nothing_else_is(
    subject: Subject,
) -> None:
    holding = [
        stream.name
        for stream in STREAMS
        if any(matches(pattern, subject.rest) for pattern in stream.subjects)
    ]
    # The live copy of an event is republished by the stream that holds the event.
    is_stored = subject.kind in (Kind.FACT, Kind.TICKET) or subject is subjects.RUN_EVENT
    assert len(holding) == is_stored


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: consumer.name)
def test_a_consumer_reads_a_stream_that_holds_what_it_filters(consumer: streams.Consumer) -> None:
    (stream,) = [stream for stream in STREAMS if stream.name == consumer.stream]
    wanted = [subject for subject in subjects.ALL if matches(consumer.filter, subject.rest)]
    assert wanted
    for subject in wanted:
        assert any(matches(pattern, subject.rest) for pattern in stream.subjects)


@pytest.mark.parametrize("service", DEPLOYED)
def test_a_service_serves_what_the_table_says_and_nothing_else(service: str) -> None:
    routes = served(service)
    kinds = {Kind.ORDER: Order, Kind.POLL: Poll, Kind.FACT: Listen, Kind.HINT: Hint}
    for route in routes:
        assert service in route.subject.consumers, f"{service} is no consumer of {route.subject}"
        assert isinstance(route, kinds[route.subject.kind])
        if isinstance(route, Listen):
            assert route.consumer in CONSUMERS
            assert matches(route.consumer.filter, route.subject.rest)
    counts = Counter(route.subject.rest for route in routes)
    assert set(counts.values()) <= {1}
    expected = {
        subject.rest
        for subject in subjects.ALL
        if service in subject.consumers and subject.kind not in PULLED
    }
    assert set(counts) == expected


def test_every_order_is_served_by_somebody() -> None:
    served_rests = {route.subject.rest for service in DEPLOYED for route in served(service)}
    orders = {subject.rest for subject in subjects.ALL if subject.kind is Kind.ORDER}
    assert orders <= served_rests


def test_streams_have_names_and_limits() -> None:
    assert len({stream.name for stream in STREAMS}) == len(STREAMS)
    for stream in STREAMS:
        assert re.fullmatch(r"[A-Z_]+", stream.name)
        assert stream.age_s_max > 0
        assert stream.bytes_max > 0
        assert stream.duplicate_window_s <= stream.age_s_max
