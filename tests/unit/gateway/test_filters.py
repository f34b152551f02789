"""What handlers may answer, and what it means for metadata."""

from __future__ import annotations

from typing import Any

import pytest

from bedplate_gateway.access.filters import ANY, Misformed, either, filter_of

OWNED: dict[str, Any] = {
    "owner": "alice", "readers": ["bob", "al"], "n": 1, "flag": True, "nothing": None,
    "place": {"a": 1, "b": [1, 2]}, "list": [{"a": 1}], "empty": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "matches"),
    [
        ({}, True),
        ({"owner": "alice"}, True),
        ({"owner": {"$eq": "alice"}}, True),
        ({"owner": "bob"}, False),
        ({"gone": "alice"}, False),
        ({"gone": None}, False),
        ({"nothing": None}, True),
        ({"n": 1.0}, True),
        ({"n": True}, False),
        ({"flag": 1}, False),
        ({"place": {"a": 1, "b": [1, 2]}}, True),
        ({"place": {"a": 1}}, False),
        ({"readers": ["bob", "al"]}, True),
        ({"readers": ["al", "bob"]}, False),
        ({"readers": {"$contains": "bob"}}, True),
        ({"readers": {"$contains": ["al", "bob"]}}, True),
        ({"readers": {"$contains": ["al", "eve"]}}, False),
        ({"owner": {"$contains": "alice"}}, False),
        ({"empty": {"$contains": []}}, True),
        ({"owner": {"$contains": []}}, False),
        ({"owner": "alice", "readers": {"$contains": "eve"}}, False),
        ({"$or": [{"owner": "eve"}, {"readers": {"$contains": "bob"}}]}, True),
        ({"$and": [{"owner": "alice"}, {"readers": {"$contains": "eve"}}]}, False),
        ({"owner": "alice", "$or": [{"n": 2}, {"$and": [{"n": 1}, {"flag": True}]}]}, True),
    ],
)
def test_a_filter_matches_metadata(given: dict[str, Any], matches: bool) -> None:
    assert filter_of(given).matches(OWNED) is matches


@pytest.mark.parametrize(
    "given",
    [
        {"$or": [{"owner": "alice"}]},
        {"$and": []},
        {"$or": {"owner": "alice"}},
        {"$not": [{"a": 1}, {"b": 1}]},
        {"owner": {"$ne": "alice"}},
        {"owner": {"$eq": "alice", "name": 1}},
        {"owner": {"$contains": {"a": 1}}},
        {"owner": {"$contains": [["a"]]}},
        {"$or": [{"a": 1}, {"$or": [{"b": 1}, {"$or": [{"c": 1}, {"d": 1}]}]}]},
        {"owner": "a\x00b"},
        {"a\x00b": 1},
        {"owner": float("nan")},
        {"owner": object()},
        {"$or": ["a", "b"]},
    ],
)
def test_what_is_no_filter_lets_nobody_in(given: dict[str, Any]) -> None:
    with pytest.raises(Misformed):
        filter_of(given)


def test_nothing_in_a_filter_becomes_a_part_of_the_statement() -> None:
    evil = "x' OR true; --"
    condition = filter_of({evil: evil, "list": [evil], "$or": [{evil: 1}, {"a": evil}]}).on("m")
    assert evil not in condition.text
    numbers = {f"${number}" for number in range(1, len(condition.values) + 1)}
    assert all(number in condition.text for number in numbers)


def test_everything_costs_no_condition() -> None:
    assert (ANY.on("m", after=3).text, ANY.on("m").values) == ("true", [])
    assert filter_of({}) is ANY
    assert either(filter_of({"a": 1}), filter_of({"b": 1})).matches({"b": 1})
