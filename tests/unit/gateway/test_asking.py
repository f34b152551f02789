"""Configs merged, pages turned, paths taken apart, JSON kept whole."""

from __future__ import annotations

import pytest

from bedplate.chassis.ids import uuid7
from bedplate.kernel.errors import Refused
from bedplate.kernel.setup import Setup, merged_setup
from bedplate_gateway.asking import page_of, setup_of
from bedplate_gateway.errors import Unprocessable
from bedplate_gateway.extraction import extraction_of
from bedplate_gateway.forms import Config
from bedplate_gateway.ids import system_assistant_id, uuid_or_none
from bedplate_gateway.json_text import dumped, parsed, with_member


def _config(**given: object) -> Config:
    return Config.model_validate(given)


def test_configurable_and_context_mirror_each_other() -> None:
    from_config = setup_of(_config(configurable={"a": 1}), None)
    assert from_config == Setup({"configurable": {"a": 1}}, {"a": 1})
    from_context = setup_of(_config(tags=["t"]), {"a": 1})
    assert from_context == Setup({"tags": ["t"], "configurable": {"a": 1}}, {"a": 1})
    with pytest.raises(Refused):
        setup_of(_config(configurable={"a": 1}), {"b": 1})
    assert setup_of(_config(configurable={"a": 1}), {}) == from_config


def test_where_a_run_is_does_not_become_context() -> None:
    setup = setup_of(_config(configurable={"thread_id": "t", "checkpoint_id": "c", "a": 1}), None)
    assert setup.context == {"a": 1}
    assert setup.config["configurable"]["thread_id"] == "t"
    # A run that began in the past does not leave the thread's state there.
    assert setup.lasting == {"configurable": {"a": 1}}


def test_keys_of_the_server_are_dropped() -> None:
    setup = setup_of(_config(configurable={"langgraph_auth_user": 1, "a": 1}), None)
    assert setup == Setup({"configurable": {"a": 1}}, {"a": 1})
    assert setup_of(None, {"langgraph_request_id": "x"}).context == {}


def test_a_run_wins_over_its_assistant_key_by_key() -> None:
    below = Setup(
        {"configurable": {"a": 1, "b": {"x": 1}}, "tags": ["t"], "recursion_limit": 5},
        {"a": 1, "b": {"x": 1}},
    )
    above = setup_of(_config(configurable={"b": {"y": 2}}, tags=["u", "t"], other=1), None)
    merged = merged_setup(below, above)
    assert merged.config == {
        "configurable": {"a": 1, "b": {"y": 2}},
        "tags": ["t", "u"],
        "recursion_limit": 5,
        "other": 1,
    }
    assert merged.context == {"a": 1, "b": {"y": 2}}
    assert below.config["configurable"] == {"a": 1, "b": {"x": 1}}


def test_a_page_knows_whether_there_is_a_next_one() -> None:
    full = page_of(["1", "2", "3"], limit=2, offset=4)
    assert (full.rows, full.next_offset, full.total) == (["1", "2"], 6, 7)
    last = page_of(["1"], limit=2, offset=4)
    assert (last.rows, last.next_offset, last.total) == (["1"], None, 5)


def test_paths_are_taken_apart() -> None:
    paths = extraction_of({"a": "values.x[0].y", "b": "metadata", "c": "values.m[-1]"})
    assert [row["path"] for row in paths] == [
        ["values", "x", "0", "y"],
        ["metadata"],
        ["values", "m", "-1"],
    ]


@pytest.mark.parametrize("path", ["", ".values", "values.", "values[", "values[a]", "run.x"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(Unprocessable):
        extraction_of({"a": path})


def test_json_keeps_numbers_and_loses_only_nul() -> None:
    big = b'{"n":123456789012345678901234567890,"f":1e400}'
    assert dumped(parsed(big)) == '{"n":123456789012345678901234567890,"f":null}'
    assert parsed(b'{"a":["x\\u0000"]}') == {"a": ["x�"]}
    with pytest.raises(Unprocessable, match=r"'a\.b'"):
        parsed(b'{"a":{"b":{"\\u0000":1}}}')


def test_a_member_is_added_to_any_object() -> None:
    assert with_member("{}", "a", "1") == '{"a":1}'
    assert with_member('{"b" : 2} ', "a", "[]") == '{"b" : 2,"a":[]}'


def test_ids_are_of_their_version_and_grow() -> None:
    ids = [uuid7() for _ in range(100)]
    assert {made.version for made in ids} == {7} and len(set(ids)) == 100
    assert str(system_assistant_id("agent")) == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
    assert uuid_or_none(str(ids[0])) == ids[0]
    for text in ("", "seven", ids[0].hex, "{" + str(ids[0])[:-1] + "}"):
        assert uuid_or_none(text) is None
