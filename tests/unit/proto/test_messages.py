"""Messages are values, and forgive a publisher that is newer than their reader."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from bedplate_proto import subjects
from bedplate_proto.envelope import CloudEvent, Fact, Message, cloud_event
from bedplate_proto.runs import CreateRun, RunFinished, RunReady
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import RunStatus

RUN = UUID("22222222-2222-4222-8222-222222222222")
THREAD = UUID("33333333-3333-4333-8333-333333333333")


def all_messages(found: type[Message] = Message) -> list[type[Message]]:
    return [each for kind in found.__subclasses__() for each in (kind, *all_messages(kind))]


def test_a_message_cannot_be_changed() -> None:
    ready = RunReady(run_id=RUN, thread_id=THREAD, ticket=1)
    with pytest.raises(ValidationError, match="frozen"):
        ready.ticket = 2  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("kind", all_messages(), ids=lambda kind: kind.__name__)
def test_every_message_is_frozen_and_ignores_what_it_does_not_know(kind: type[Message]) -> None:
    assert kind.model_config.get("frozen") is True
    assert kind.model_config.get("extra") == "ignore"
    assert kind.schema_version >= 1


def test_a_field_that_a_newer_publisher_added_is_ignored() -> None:
    text = f'{{"run_id":"{RUN}","thread_id":"{THREAD}","ticket":1,"colour":"blue"}}'
    assert RunReady.model_validate_json(text) == RunReady(run_id=RUN, thread_id=THREAD, ticket=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("after_s", -1), ("multitask_strategy", "later"), ("run_id", "x"), ("kwargs", {})],
)
def test_a_field_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    order: dict[str, Any] = {
        "tenant": "default",
        "run_id": str(RUN),
        "thread_id": str(THREAD),
        "assistant_id": str(RUN),
        "graph_id": "agent",
        "kwargs": "{}",
        "metadata": "{}",
        "thread_metadata": "{}",
        "thread_config": "{}",
        "multitask_strategy": "enqueue",
        "if_not_exists": "create",
        "after_s": 0,
        "is_temporary": False,
        "deletes_thread": False,
    }
    CreateRun.model_validate(order)
    with pytest.raises(ValidationError, match=field):
        CreateRun.model_validate(order | {field: value})
    with pytest.raises(ValidationError, match=f"{field}\n  Field required"):
        CreateRun.model_validate({name: order[name] for name in order if name != field})


def test_a_fact_travels_as_a_cloud_event() -> None:
    fact = RunFinished(
        run_id=RUN,
        thread_id=THREAD,
        assistant_id=RUN,
        graph_id="agent",
        status=RunStatus.SUCCESS,
        attempt=1,
        has_next=False,
        is_rolled_back=False,
        error=None,
        webhook=None,
    )
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    event = cloud_event(fact, event_id="e", tenant="default", source="/s", at=at)
    assert event.type == "dev.bedplate.run.finished.v1"
    again = CloudEvent.model_validate_json(event.model_dump_json())
    assert again == event
    assert RunFinished.model_validate(again.data) == fact


def test_every_fact_has_a_type_of_its_own() -> None:
    facts = [kind for kind in all_messages() if issubclass(kind, Fact) and kind is not Fact]
    types = [(fact.noun_participle, fact.schema_version) for fact in facts]
    assert len(set(types)) == len(types) > 0


def test_a_runs_events_have_one_place_stored_and_one_live() -> None:
    address = RunAddress("default", THREAD, RUN)
    assert address.stored("bedplate") == f"bedplate.v1.ev.default.{THREAD}.{RUN}"
    assert address.live("staging") == f"staging.v1.live.default.{THREAD}.{RUN}"


def test_a_subject_needs_all_its_tokens() -> None:
    with pytest.raises(KeyError):
        subjects.RUN_SIGNAL.at("bedplate")
    assert subjects.RUN_SIGNAL.everywhere("bedplate") == "bedplate.v1.sig.*"
