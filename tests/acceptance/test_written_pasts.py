"""Pasts that are written instead of lived, and what of a past cannot be (contract endpoints.md
4)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError

from bedplate.testing.talks import place

# -- a past that is written


def superstep(*updates: tuple[str, Any]) -> dict[str, Any]:
    return {"updates": [{"as_node": node, "values": values} for node, values in updates]}


async def test_supersteps_write_one_checkpoint_each(client: LangGraphClient, story: Any) -> None:
    thread = await client.threads.create(
        graph_id="siblings",
        metadata={"imported": True},
        supersteps=[
            superstep(("__start__", {"title": "t"})),
            superstep(("steady", {"log": ["s"]}), ("fragile", [{"log": ["f"]}, {"title": "u"}])),
        ],
    )
    it = story("siblings", thread["thread_id"])
    states = await it.states()
    assert [s["values"].get("log") for s in states] == [[], ["s", "f"]]
    assert [sorted(s["next"]) for s in states] == [["fragile", "steady"], ["last"]]
    assert thread["metadata"] == {"graph_id": "siblings", "imported": True}
    assert thread["values"] == {"title": "u", "log": ["s", "f"]}
    assert thread["status"] == "interrupted"
    await it.shows_its_newest_state()
    assert (await it.run())["log"] == ["s", "f", "last"]
    # A past that was written can be gone back to as one that was lived.
    again = await it.run(checkpoint_id=place(states[1]))
    assert again["log"] == ["s", "f", "last"]


async def test_supersteps_take_commands_and_can_end_before_a_node(
    client: LangGraphClient, story: Any
) -> None:
    command = {"update": {"log": ["a"]}, "goto": "third"}
    thread = await client.threads.create(
        graph_id="tale",
        supersteps=[
            superstep(("__start__", {"title": "t"})),
            {"updates": [{"as_node": "first", "values": None, "command": command}]},
        ],
    )
    it = story("tale", thread["thread_id"])
    state = await it.state()
    assert (state["values"]["log"], sorted(state["next"])) == (["a"], ["second", "third"])
    assert thread["status"] == "interrupted"
    assert (await it.run())["log"] == ["a", "second", "third", "third"]


async def test_supersteps_are_written_once(client: LangGraphClient, story: Any) -> None:
    """By whoever makes the thread, of all who try at once."""
    given: Any = {
        "thread_id": str(uuid4()),
        "graph_id": "tale",
        "supersteps": [
            superstep(("__start__", {"title": "t"})),
            superstep(("first", {"log": ["a"]})),
        ],
        "if_exists": "do_nothing",
    }
    made = await asyncio.gather(*(client.threads.create(**given) for _ in range(4)))
    made.append(await client.threads.create(**given))
    assert {one["thread_id"] for one in made} == {given["thread_id"]}
    it = story("tale", given["thread_id"])
    assert [s["metadata"]["source"] for s in await it.states()] == ["update", "update"]
    assert (await it.row())["values"] == {"title": "t", "log": ["a"]} == made[-1]["values"]
    with pytest.raises(ConflictError):
        await client.threads.create(**(given | {"if_exists": "raise"}))
    assert len(await it.states()) == 2


# -- what cannot be


def placed(**place: Any) -> dict[str, Any]:
    return {"assistant_id": "tale", "config": {"configurable": place}}


BAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("state", {"values": {}, "checkpoint": {"checkpoint_id": 7}}, 422, "checkpoint.checkpoint_id"),
    ("state", {"values": {}, "checkpoint": {"checkpoint_ns": 7}}, 422, "checkpoint.checkpoint_ns"),
    ("state", {"values": {}, "checkpoint": {"checkpoint_map": []}}, 422, "checkpoint_map"),
    ("state", {"values": {}, "checkpoint": {"checkpoint_map": {"": 7}}}, 422, "checkpoint_map"),
    ("state", {"values": 7}, 422, "values"),
    ("state", {"values": [{}, 7]}, 400, "values[1]"),
    ("state", {"values": {"log": 7}, "as_node": "first"}, 400, "'log'"),
    ("state", {"values": {}, "as_node": "nowhere"}, 400, "nowhere"),
    ("state", {"values": {}, "checkpoint": {"checkpoint_ns": "nowhere:1"}}, 400, "nowhere"),
    ("state/checkpoint", {"checkpoint": {"checkpoint_ns": "nowhere:1"}}, 400, "'nowhere'"),
    ("state/checkpoint", {"checkpoint": {"checkpoint_map": {"": 7}}}, 422, "checkpoint_map"),
    ("state/checkpoint", {"checkpoint": {}, "subgraphs": "yes"}, 422, "subgraphs"),
    ("history", {"checkpoint": {"checkpoint_ns": 7}}, 422, "checkpoint.checkpoint_ns"),
    ("history", {"checkpoint": {"checkpoint_ns": "nowhere:1|x:2"}}, 400, "'nowhere|x'"),
    ("history", {"metadata": {"a\x00": 1}}, 422, "metadata"),
    ("history", {"metadata": 7}, 422, "metadata"),
    ("history", {"limit": 1001}, 422, "limit"),
    ("history", {"limit": 1.5}, 422, "limit"),
    ("runs", {"assistant_id": "tale", "checkpoint": {"checkpoint_map": []}}, 422, "checkpoint_map"),
    ("runs", {"assistant_id": "tale", "checkpoint": {"checkpoint_ns": 7}}, 422, "checkpoint_ns"),
    ("runs", placed(checkpoint_map={"": 7}), 422, "configurable.checkpoint_map"),
    ("runs", placed(checkpoint_ns=7), 422, "configurable.checkpoint_ns"),
]


@pytest.mark.parametrize(("path", "body", "code", "named"), BAD)
async def test_what_cannot_be_is_refused_by_name(
    story: Any, http: httpx.AsyncClient, path: str, body: Any, code: int, named: str
) -> None:
    it = story()
    await it.run({"title": "t"})
    answer = await http.post(f"/threads/{it.thread_id}/{path}", json=body)
    assert (answer.status_code, named in answer.json()["detail"]) == (code, True), answer.text
    assert len(await it.states()) == 5


STEPS: list[tuple[Any, int, str]] = [
    ([], 400, "supersteps"),
    ([{}], 422, "supersteps.0.updates"),
    ([{"updates": []}], 400, "supersteps[0].updates"),
    ([{"updates": [{"as_node": 7}]}], 422, "as_node"),
    ([{"updates": [{"as_node": "first", "values": 7}]}], 422, "supersteps.0.updates.0.values"),
    ([{"updates": [{"as_node": "first", "values": [7]}]}], 400, "updates[0].values[0]"),
    ([{"updates": [{"as_node": "first", "values": {"log": 7}}]}], 400, "'log'"),
    ([{"updates": [{"as_node": "first", "command": 7}]}], 422, "command"),
    ([{"updates": [{"as_node": "first", "command": {"update": 7}}]}], 400, "command.update"),
    ([{"updates": [{"as_node": "nowhere", "values": {}}]}], 400, "nowhere"),
]


@pytest.mark.parametrize(("steps", "code", "named"), STEPS)
async def test_a_past_that_cannot_be_is_refused_and_leaves_no_thread(
    http: httpx.AsyncClient, steps: Any, code: int, named: str
) -> None:
    thread_id = str(uuid4())
    body = {"thread_id": thread_id, "metadata": {"graph_id": "tale"}, "supersteps": steps}
    answer = await http.post("/threads", json=body)
    if steps == []:
        assert answer.status_code == 200, "nothing was asked for"
        return
    assert (answer.status_code, named in answer.json()["detail"]) == (code, True), answer.text
    assert (await http.get(f"/threads/{thread_id}")).status_code == 404


async def test_a_past_of_an_unknown_graph_is_refused(client: LangGraphClient) -> None:
    with pytest.raises((NotFoundError, BadRequestError), match="nowhere"):
        await client.threads.create(
            graph_id="nowhere", supersteps=[superstep(("__start__", {"title": "t"}))]
        )
