"""The blocks `store` and `checkpointer`: what is read, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bedplate.graphs.persistence import given_persistence
from bedplate.kernel.errors import Refused


def written(folder: Path, **blocks: Any) -> Path:
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./a.py:a"}, **blocks}))
    return folder


def test_nothing_given_is_the_defaults(tmp_path: Path) -> None:
    for given in (given_persistence(None, {}), given_persistence(written(tmp_path), {})):
        assert given.store.index is None and given.store.path is None
        assert given.store.ttl.default_ttl is None
        assert given.store.ttl.refresh_on_read and given.store.ttl.sweep_interval_minutes == 5
        assert given.checkpointer.ttl.default_ttl is None
        assert given.checkpointer.ttl.limit("delete") == 10_000
        assert given.checkpointer.ttl.limit("keep_latest") == 1_000


def test_a_variable_counts_instead_of_the_file(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        store={"ttl": {"default_ttl": 5}},
        checkpointer={"ttl": {"default_ttl": 7, "strategy": "keep_latest", "sweep_limit": 3}},
    )
    of_file = given_persistence(folder, {})
    assert of_file.store.ttl.default_ttl == 5
    assert of_file.checkpointer.ttl.limit("delete") == 3
    store = json.dumps({"index": {"dims": 3, "embed": "openai:x-1"}, "ttl": None})
    told = given_persistence(
        folder, {"LANGGRAPH_STORE": store, "LANGGRAPH_CHECKPOINTER": '{"path": "./c.py:c"}'}
    )
    assert told.store.index is not None and told.store.index.fields == ["$"]
    assert told.store.ttl.default_ttl is None
    assert told.checkpointer.path == "./c.py:c" and told.checkpointer.ttl.default_ttl is None


@pytest.mark.parametrize(
    ("text", "minutes", "strategy"),
    [
        ("90", 90, "delete"),
        ("0.5", 0.5, "delete"),
        ('{"default_ttl": 60, "strategy": "keep_latest"}', 60, "keep_latest"),
    ],
)
def test_threads_get_their_time_to_live_from_a_variable(
    text: str, minutes: float, strategy: str
) -> None:
    given = given_persistence(None, {"LANGGRAPH_THREAD_TTL": text})
    assert given.checkpointer.ttl.default_ttl == minutes
    assert given.checkpointer.ttl.strategy == strategy


def test_variables_of_the_file_count_too(tmp_path: Path) -> None:
    folder = written(tmp_path, env={"LANGGRAPH_THREAD_TTL": "30"})
    assert given_persistence(folder, {}).checkpointer.ttl.default_ttl == 30
    assert (
        given_persistence(folder, {"LANGGRAPH_THREAD_TTL": "40"}).checkpointer.ttl.default_ttl == 40
    )


@pytest.mark.parametrize(
    ("variable", "block", "named"),
    [
        ("STORE", {"index": {"dims": 0, "embed": "x"}}, "store.index.dims"),
        ("STORE", {"index": {"dims": 3}}, "store.index.embed"),
        ("STORE", {"index": {"dims": 3, "embed": "x", "distance_type": "l2"}}, "distance_type"),
        ("STORE", {"index": {"dims": 3, "embed": "x", "fields": []}}, "store.index.fields"),
        ("STORE", {"ttl": {"default_tll": 3}}, "store.ttl.default_tll"),
        ("STORE", {"ttl": {"default_ttl": -1}}, "store.ttl.default_ttl"),
        ("STORE", ["x"], "store: "),
        ("CHECKPOINTER", {"backend": "mongo"}, "checkpointer.backend"),
        ("CHECKPOINTER", {"backend": "custom"}, "path"),
        ("CHECKPOINTER", {"uri": "mongodb://x"}, "checkpointer.uri"),
        ("CHECKPOINTER", {"ttl": {"strategy": "forget"}}, "checkpointer.ttl.strategy"),
        ("THREAD_TTL", True, "LANGGRAPH_THREAD_TTL"),
        ("THREAD_TTL", -3, "checkpointer.ttl.default_ttl"),
    ],
)
def test_what_cannot_be_is_refused_by_name(variable: str, block: Any, named: str) -> None:
    with pytest.raises(Refused, match=named):
        given_persistence(None, {f"LANGGRAPH_{variable}": json.dumps(block)})
    with pytest.raises(Refused, match=f"LANGGRAPH_{variable} is not valid JSON"):
        given_persistence(None, {f"LANGGRAPH_{variable}": "{"})
