"""State, history and edits with the unmodified SDK (contract endpoints.md 4, semantics.md 5-6)."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError

from bedplate.testing.eventually import eventually


async def test_a_thread_that_never_ran_has_an_empty_state(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    state = await client.threads.get_state(thread["thread_id"])
    assert (state["values"], state["next"], state["tasks"]) == ({}, [], [])
    assert state["parent_checkpoint"] is None and state["checkpoint"]["checkpoint_id"] is None
    assert await client.threads.get_history(thread["thread_id"]) == []


async def test_state_shows_what_waits(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "approval", input={"question": "q"})
    state = await client.threads.get_state(thread["thread_id"])
    assert state["next"] == ["ask"]
    assert state["values"] == {"question": "q"}
    assert state["tasks"][0]["name"] == "ask"
    interrupt = state["tasks"][0]["interrupts"][0]
    assert interrupt["value"] == {"question": "q"}
    assert state["interrupts"] == [interrupt]
    assert state["checkpoint"]["thread_id"] == thread["thread_id"]
    assert state["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]


async def test_history_is_newest_first_and_pages_by_before(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "steps", input={"steps": 3})
    every = await client.threads.get_history(thread["thread_id"], limit=20)
    assert [state["metadata"]["step"] for state in every] == [3, 2, 1, 0, -1]
    assert every[-1]["metadata"]["source"] == "input"
    third = every[2]["checkpoint"]
    for before in (
        third,
        {"configurable": {"checkpoint_id": third["checkpoint_id"]}},
        third["checkpoint_id"],
    ):
        older = await client.threads.get_history(
            thread["thread_id"],
            limit=20,
            before=before,
        )
        assert [state["metadata"]["step"] for state in older] == [0, -1]
    only = await client.threads.get_history(thread["thread_id"], metadata={"step": 1}, limit=20)
    assert [state["metadata"]["step"] for state in only] == [1]


async def test_history_by_get_has_one_state_unless_told(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "steps", input={"steps": 3})
    path = f"/threads/{thread['thread_id']}/history"
    assert len((await http.get(path)).json()) == 1
    assert len((await http.get(path, params={"limit": 20})).json()) == 5
    assert (await http.get(path, params={"limit": "many"})).status_code == 422


async def test_state_at_a_checkpoint_in_all_spellings(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "steps", input={"steps": 3})
    older = (await client.threads.get_history(thread["thread_id"], limit=20))[2]
    by_id = await client.threads.get_state(
        thread["thread_id"], checkpoint_id=older["checkpoint"]["checkpoint_id"]
    )
    by_place = await client.threads.get_state(thread["thread_id"], checkpoint=older["checkpoint"])
    assert by_id["values"] == by_place["values"] == older["values"]
    unknown = await http.get(f"/threads/{thread['thread_id']}/state/{uuid4()}")
    assert unknown.status_code == 200 and unknown.json()["values"] == {}
    bad = await http.get(f"/threads/{thread['thread_id']}/state/seven")
    assert (bad.status_code, bad.json()["detail"]) == (422, "Invalid checkpoint ID: must be a UUID")


async def test_subgraphs_are_nested_when_asked_for(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "subgraphs", input={"visited": [], "asks": True})
    flat = await client.threads.get_state(thread["thread_id"])
    assert flat["tasks"][0]["checkpoint"]["checkpoint_ns"].startswith("child:")
    assert flat["tasks"][0]["state"] is None
    nested = await client.threads.get_state(thread["thread_id"], subgraphs=True)
    assert nested["tasks"][0]["state"]["next"] == ["inner_second"]


async def test_an_edit_goes_through_the_reducers_and_the_row(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "steps", input={"steps": 2})
    written = await client.threads.update_state(thread["thread_id"], {"log": [99]}, as_node="step")
    assert written["checkpoint"]["thread_id"] == thread["thread_id"]
    assert written["checkpoint_id"] == written["checkpoint"]["checkpoint_id"]
    state = await client.threads.get_state(thread["thread_id"])
    assert state["values"]["log"] == [1, 2, 99]
    assert state["metadata"]["source"] == "update"
    assert (await client.threads.get(thread["thread_id"]))["values"]["log"] == [1, 2, 99]


async def test_an_edit_can_finish_what_waits(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "approval", input={"question": "q"})
    await client.threads.update_state(thread["thread_id"], None, as_node="__end__")
    shown = await client.threads.get(thread["thread_id"])
    assert (shown["status"], shown["interrupts"]) == ("idle", {})


async def test_an_edit_of_the_past_forks(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "steps", input={"steps": 3})
    past = (await client.threads.get_history(thread["thread_id"], limit=20))[2]
    await client.threads.update_state(
        thread["thread_id"], {"log": [50]}, checkpoint=past["checkpoint"]
    )
    state = await client.threads.get_state(thread["thread_id"])
    assert state["values"]["log"] == [*past["values"]["log"], 50]
    assert state["parent_checkpoint"]["checkpoint_id"] == past["checkpoint"]["checkpoint_id"]
    assert (await client.threads.get(thread["thread_id"]))["status"] == "interrupted"


async def test_an_edit_is_refused_where_it_cannot_be_made(client: LangGraphClient) -> None:
    blank = await client.threads.create()
    with pytest.raises(BadRequestError):
        await client.threads.update_state(blank["thread_id"], {"log": [1]})
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "steps", input={"steps": 1})
    with pytest.raises(BadRequestError):
        await client.threads.update_state(thread["thread_id"], {"log": [1]}, as_node="nowhere")


async def test_an_edit_waits_for_no_run(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "sleeps", input={})

    async def status() -> str:
        return (await client.runs.get(thread["thread_id"], run["run_id"]))["status"]

    await eventually(status, equals="running", within_s=10)
    with pytest.raises(ConflictError):
        await client.threads.update_state(thread["thread_id"], {})
    await client.runs.cancel(thread["thread_id"], run["run_id"], wait=True)


async def test_supersteps_make_a_thread_with_a_past(client: LangGraphClient) -> None:
    thread = await client.threads.create(
        graph_id="steps",
        supersteps=[
            {"updates": [{"values": {"steps": 4}, "as_node": "__start__"}]},
            {"updates": [{"values": {"count": 1, "log": [1]}, "as_node": "step"}]},
        ],
    )
    assert thread["values"]["log"] == [1]
    state = await client.threads.get_state(thread["thread_id"])
    assert state["next"] == ["step"]
    finished = await client.runs.wait(thread["thread_id"], "steps", input=None)
    assert finished["log"] == [1, 2, 3, 4]


async def test_supersteps_need_a_graph_and_leave_nothing_behind(http: httpx.AsyncClient) -> None:
    steps = [{"updates": [{"values": {}, "as_node": "nowhere"}]}]
    answer = await http.post("/threads", json={"supersteps": steps})
    assert answer.status_code == 400 and "graph_id" in answer.json()["detail"]
    thread_id = str(uuid4())
    answer = await http.post(
        "/threads",
        json={"thread_id": thread_id, "metadata": {"graph_id": "steps"}, "supersteps": steps},
    )
    assert answer.status_code == 400
    assert (await http.get(f"/threads/{thread_id}")).status_code == 404
