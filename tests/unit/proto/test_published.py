"""What is published is what the source says, and nothing that readers rely on was taken away."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bedplate import contracts
from bedplate.contracts import changes, schemas
from bedplate_proto.envelope import CloudEvent, Fact, Message
from bedplate_proto.runs import RunReady

PUBLISHED = Path(__file__).resolve().parents[3] / "proto" / "published"
MESSAGES = {schemas.published_name(message): message for message in schemas.published_messages()}
SAMPLES = sorted((PUBLISHED / "samples").glob("*.json"))


def test_the_published_files_are_what_the_source_says_now() -> None:
    problems = contracts.stale(PUBLISHED)
    assert not problems, (
        f"proto/published is stale: run `{contracts.COMMAND}` and commit what changed\n"
        + "\n".join(problems)
    )


def test_no_published_message_was_changed_in_a_way_that_breaks_its_readers() -> None:
    problems = contracts.breaking(PUBLISHED)
    assert not problems, (
        "readers of a published version would break: add a new class with the next schema_version"
        " beside the old one (proto/README.md)\n" + "\n".join(problems)
    )


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_still_decodes(path: Path) -> None:
    message = MESSAGES[path.stem]
    found = message.model_validate_json(path.read_text("utf-8"))
    assert json.loads(found.model_dump_json()) == json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_has_the_fields_its_published_schema_names(path: Path) -> None:
    schema = json.loads((PUBLISHED / path.name).read_text("utf-8"))
    sample = json.loads(path.read_text("utf-8"))
    assert set(sample) == set(schema.get("properties", {}))
    assert set(schema.get("required", [])) <= set(sample)


def test_every_message_has_a_sample() -> None:
    assert {path.stem for path in SAMPLES} == set(MESSAGES)


def test_the_same_source_gives_the_same_files(tmp_path: Path) -> None:
    written = contracts.write(tmp_path)
    assert contracts.files() == {
        path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in written
    }
    assert contracts.stale(tmp_path) == []


def test_names_say_message_and_version() -> None:
    assert schemas.published_name(RunReady) == "run_ready.v1"

    class RunReadyV2(Message):
        schema_version = 2

    assert schemas.published_name(RunReadyV2) == "run_ready.v2"


# -- what breaks and what does not

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "count": {"type": "integer", "minimum": 1},
        "kind": {"$ref": "#/$defs/Kind"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
    },
    "required": ["id", "count"],
    "$defs": {
        "Kind": {"type": "string", "enum": ["a", "b"]},
        "Part": {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "inner": {"$ref": "#/$defs/Part"}},
            "required": ["x"],
        },
    },
}
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> list[str]:
    after = json.loads(json.dumps(SCHEMA))
    change(after)
    return changes.breaking_changes(SCHEMA, after)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s["properties"].pop("note"), "note is gone"),
        (lambda s: s["required"].append("note"), "note is required now"),
        (
            lambda s: (s["properties"].update(new={"type": "string"}), s["required"].append("new")),
            "new is required now",
        ),
        (lambda s: s["required"].remove("id"), "id may be left out now"),
        (lambda s: s["properties"]["id"].pop("format"), r"id may not be string \(uuid\)"),
        (lambda s: s["properties"]["count"].update(type="string"), "count may not be integer"),
        (lambda s: s["properties"]["count"].update(minimum=2), "count has a narrower minimum: 2"),
        (lambda s: s["properties"]["count"].update(maximum=9), "count has a narrower maximum: 9"),
        (lambda s: s["$defs"]["Kind"]["enum"].remove("b"), "kind may not be 'b' any more"),
        (lambda s: s["properties"]["note"]["anyOf"].pop(), "note may not be null any more"),
        (lambda s: s["$defs"]["Part"]["required"].append("inner"), r"parts\[\].inner is required"),
        (lambda s: s["$defs"]["Part"]["properties"].pop("x"), r"parts\[\].x is gone"),
    ],
)
def test_a_change_that_breaks_a_reader_is_told(change: Change, told: str) -> None:
    (problem,) = changed(change)
    assert re.search(told, problem), problem


@pytest.mark.parametrize(
    "change",
    [
        lambda s: None,
        lambda s: s["properties"].update(new={"type": "string", "default": "x"}),
        lambda s: s["properties"]["count"].update(minimum=0),
        lambda s: s["properties"]["count"].pop("minimum"),
        lambda s: s["$defs"]["Kind"]["enum"].append("c"),
        lambda s: s["properties"]["note"]["anyOf"].append({"type": "integer"}),
        lambda s: s.update(description="told better"),
    ],
)
def test_a_change_that_only_adds_breaks_nobody(change: Change) -> None:
    assert changed(change) == []


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(PUBLISHED, tmp_path / "published")
    yield tmp_path / "published"


def published_before(folder: Path, name: str, change: Change) -> None:
    """As if an earlier release had published this."""
    path = folder / name
    schema = json.loads(path.read_text("utf-8"))
    change(schema)
    path.write_text(json.dumps(schema), "utf-8")


def test_a_breaking_change_is_not_written_and_the_message_says_what_to_do(folder: Path) -> None:
    name = "run_ready.v1.json"

    def more_fields(schema: dict[str, Any]) -> None:
        schema["properties"]["colour"] = {"type": "string"}
        schema["required"].remove("ticket")

    published_before(folder, name, more_fields)
    before = (folder / name).read_text("utf-8")
    with pytest.raises(contracts.Breaking) as caught:
        contracts.write(folder)
    assert "run_ready.v1: colour is gone" in caught.value.message
    assert "run_ready.v1: ticket is required now" in caught.value.message
    assert "add a new one beside it with the next schema_version" in caught.value.message
    assert (folder / name).read_text("utf-8") == before


def test_a_message_that_is_gone_is_breaking_until_its_schema_was_deleted(folder: Path) -> None:
    for place in (folder, folder / "samples"):
        shutil.copy(place / "run_ready.v1.json", place / "run_lost.v1.json")
    with pytest.raises(contracts.Breaking, match=r"run_lost\.v1: the message is gone"):
        contracts.write(folder)
    (folder / "run_lost.v1.json").unlink()
    assert contracts.stale(folder) == ["samples/run_lost.v1.json is of no message any more"]
    contracts.write(folder)
    assert contracts.stale(folder) == []


def test_stale_files_are_named(folder: Path) -> None:
    (folder / "samples" / "run_ready.v1.json").write_text("{}", "utf-8")
    (folder / "asyncapi.json").unlink()
    assert contracts.stale(folder) == [
        "asyncapi.json is missing",
        "samples/run_ready.v1.json is not what the source says now",
    ]


# -- the document of the bus

DOCUMENT = json.loads((PUBLISHED / "asyncapi.json").read_text("utf-8"))


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        if not reference.startswith("#"):
            assert (PUBLISHED / reference).exists(), reference
            continue
        found = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_every_parameter_of_an_address_is_described_and_no_other() -> None:
    for channel in DOCUMENT["channels"].values():
        address = channel["address"] or ""
        named = {part.strip("{}") for part in address.split(".") if part.startswith("{")}
        assert named == set(channel.get("parameters", {}))
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")


def test_the_examples_of_facts_are_whole_cloud_events() -> None:
    facts = [name for name, message in MESSAGES.items() if issubclass(message, Fact)]
    assert facts
    for name in facts:
        (example,) = DOCUMENT["components"]["messages"][name]["examples"]
        event = CloudEvent.model_validate(example["payload"])
        assert event.type == f"dev.bedplate.{MESSAGES[name].noun_participle}.v1"  # pyright: ignore[reportAttributeAccessIssue]
        MESSAGES[name].model_validate(event.data)
