"""Runs with the unmodified SDK: create, wait, join, list, cancel (contract endpoints.md 5)."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import (
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually


async def _status(client: LangGraphClient, thread_id: str, run_id: str) -> str:
    return (await client.runs.get(thread_id, run_id))["status"]


async def test_a_run_is_answered_at_once_and_then_runs(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    thread = await client.threads.create()
    answer = await http.post(
        f"/threads/{thread['thread_id']}/runs",
        json={"assistant_id": "noop", "input": {"value": 1}, "metadata": {"m": 1}},
    )
    run = answer.json()
    assert run["status"] == "pending"
    assert run["multitask_strategy"] == "enqueue"
    assert run["metadata"]["m"] == 1
    assert run["kwargs"]["input"] == {"value": 1}
    assert run["kwargs"]["stream_mode"] == ["values"]
    place = f"/threads/{thread['thread_id']}/runs/{run['run_id']}"
    assert answer.headers["content-location"] == place
    assert await client.runs.join(thread["thread_id"], run["run_id"]) == {"value": 1}
    over = await client.runs.get(thread["thread_id"], run["run_id"])
    assert over["status"] == "success" and over["run_id"] == run["run_id"]
    shown = await client.threads.get(thread["thread_id"])
    assert (shown["status"], shown["values"]) == ("idle", {"value": 1})
    assert shown["metadata"]["graph_id"] == "noop"
    assert shown["metadata"]["assistant_id"] == run["assistant_id"]


async def test_numbers_keep_every_digit(http: httpx.AsyncClient) -> None:
    big = 123456789012345678901234567890
    thread = (await http.post("/threads", json={"metadata": {"big": big}})).json()
    assert thread["metadata"]["big"] == big
    answer = await http.post(
        f"/threads/{thread['thread_id']}/runs",
        json={"assistant_id": "noop", "input": {"value": big}},
    )
    assert answer.json()["kwargs"]["input"] == {"value": big}


async def test_wait_answers_with_the_last_values(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()
    answer = await http.post(
        f"/threads/{thread['thread_id']}/runs/wait",
        json={"assistant_id": "steps", "input": {"steps": 2}},
    )
    assert answer.headers["content-type"] == "application/json"
    assert answer.text.startswith("\n") and answer.json()["log"] == [1, 2]
    assert answer.headers["location"].endswith("/join")
    place = answer.headers["content-location"]
    assert (await http.get(place)).json()["status"] == "success"
    again = await http.get(answer.headers["location"])
    assert again.json()["log"] == [1, 2]


async def test_wait_shows_what_the_run_waits_for(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    values = await client.runs.wait(thread["thread_id"], "approval", input={"question": "q"})
    assert values["question"] == "q"
    assert values["__interrupt__"][0]["value"] == {"question": "q"}
    shown = await client.threads.get(thread["thread_id"])
    assert shown["status"] == "interrupted"
    (waiting,) = shown["interrupts"].values()
    assert waiting[0]["id"] == values["__interrupt__"][0]["id"]
    answered = await client.runs.wait(thread["thread_id"], "approval", command={"resume": False})
    assert answered == {"question": "q", "answer": False}
    assert (await client.threads.get(thread["thread_id"]))["status"] == "idle"


async def test_several_interrupts_are_answered_by_id(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    first = await client.runs.wait(thread["thread_id"], "two_approvals", input={"answers": {}})
    ids = {interrupt["value"]: interrupt["id"] for interrupt in first["__interrupt__"]}
    assert set(ids) == {"left?", "right?"}
    resume = {ids["left?"]: 1, ids["right?"]: 2}
    done = await client.runs.wait(thread["thread_id"], "two_approvals", command={"resume": resume})
    assert done["answers"] == {"left": 1, "right": 2} and done["is_joined"]


async def test_a_failed_run_says_how(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    told = await client.runs.wait(
        thread["thread_id"], "raises", input={"message": "boom"}, raise_error=False
    )
    assert told == {"__error__": {"error": "ValueError", "message": "boom"}}
    with pytest.raises(Exception, match="boom"):
        await client.runs.wait(thread["thread_id"], "raises", input={"message": "boom"})
    shown = await client.threads.get(thread["thread_id"])
    assert shown["status"] == "error"
    assert shown["error"] == {"error": "ValueError", "message": "boom"}
    runs = await client.runs.list(thread["thread_id"])
    assert [run["status"] for run in runs] == ["error", "error"]
    joined = await client.runs.join(thread["thread_id"], runs[0]["run_id"])
    assert joined["__error__"]["message"] == "boom"


async def test_a_static_breakpoint_stops_and_goes_on(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    stopped = await client.runs.wait(
        thread["thread_id"], "subgraphs", input={"visited": []}, interrupt_before=["after"]
    )
    assert "after" not in stopped["visited"]
    assert (await client.threads.get(thread["thread_id"]))["status"] == "interrupted"
    done = await client.runs.wait(thread["thread_id"], "subgraphs", input=None)
    assert done["visited"][-1] == "after"


async def test_a_run_can_start_from_an_old_checkpoint(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "steps", input={"steps": 3})
    past = (await client.threads.get_history(thread["thread_id"], limit=20))[2]
    assert past["values"]["log"] == [1]
    again = await client.runs.wait(
        thread["thread_id"],
        "steps",
        input=None,
        checkpoint_id=past["checkpoint"]["checkpoint_id"],
    )
    assert again["log"] == [1, 2, 3]
    sources = [
        state["metadata"]["source"]
        for state in await client.threads.get_history(thread["thread_id"], limit=20)
    ]
    assert "fork" in sources


async def test_a_stateless_run_leaves_nothing_unless_told_to_keep(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "noop", input={"value": 1})
    assert run["kwargs"]["temporary"] is True

    async def is_gone() -> bool:
        try:
            await client.threads.get(run["thread_id"])
        except NotFoundError:
            return True
        return False

    await eventually(is_gone, within_s=10)
    kept = await client.runs.create(None, "noop", input={"value": 2}, on_completion="keep")
    assert await client.runs.join(kept["thread_id"], kept["run_id"]) == {"value": 2}
    assert (await client.threads.get(kept["thread_id"]))["values"] == {"value": 2}
    assert await client.runs.wait(None, "noop", input={"value": 3}) == {"value": 3}


async def test_a_stateless_run_cannot_resume(http: httpx.AsyncClient) -> None:
    for path in ("/runs", "/runs/wait", "/runs/stream"):
        answer = await http.post(path, json={"assistant_id": "approval", "command": {"resume": 1}})
        assert answer.status_code == 400
        assert answer.json() == {"detail": "You must provide a thread_id when resuming."}


async def test_the_thread_is_made_if_told_so(client: LangGraphClient) -> None:
    thread_id = str(uuid4())
    with pytest.raises(NotFoundError, match=r"Thread or assistant not found\."):
        await client.runs.create(thread_id, "noop", input={})
    values = await client.runs.wait(thread_id, "noop", input={"value": 1}, if_not_exists="create")
    assert values == {"value": 1}
    assert (await client.threads.get(thread_id))["metadata"]["graph_id"] == "noop"


async def test_an_unknown_assistant_is_404_and_an_unknown_name_422(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    with pytest.raises(NotFoundError, match=r"Thread or assistant not found\."):
        await client.runs.create(thread["thread_id"], str(uuid4()), input={})
    with pytest.raises(UnprocessableEntityError, match="Invalid assistant: 'nobody'"):
        await client.runs.create(thread["thread_id"], "nobody", input={})


async def test_runs_of_a_thread_wait_for_each_other(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    runs = [
        await client.runs.create(thread["thread_id"], "steps", input={"steps": steps})
        for steps in (2, 4, 6)
    ]
    last = await client.runs.join(thread["thread_id"], runs[-1]["run_id"])
    assert last["log"] == [1, 2, 3, 4, 5, 6]
    listed = await client.runs.list(thread["thread_id"])
    assert [run["run_id"] for run in listed] == [run["run_id"] for run in reversed(runs)]


async def test_a_busy_thread_rejects_when_told_to(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "sleeps", input={})
    with pytest.raises(ConflictError, match="already running a task"):
        await client.runs.create(thread["thread_id"], "noop", input={}, multitask_strategy="reject")
    assert len(await client.runs.list(thread["thread_id"])) == 1
    await client.runs.cancel(thread["thread_id"], run["run_id"], wait=True)
    free = await client.runs.create(
        thread["thread_id"], "noop", input={}, multitask_strategy="reject"
    )
    await client.runs.join(thread["thread_id"], free["run_id"])


async def test_a_delayed_run_starts_later(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    began = time.monotonic()
    values = await client.runs.wait(
        thread["thread_id"], "noop", input={"value": 1}, after_seconds=1
    )
    assert values == {"value": 1} and time.monotonic() - began >= 1


async def test_a_list_is_filtered_paged_and_selected(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    thread = await client.threads.create()
    path = f"/threads/{thread['thread_id']}/runs"
    assert (await http.get(path)).json() == []
    for value in range(3):
        await client.runs.wait(thread["thread_id"], "noop", input={"value": value})
    answer = await http.get(path, params={"limit": 2, "offset": 1, "select": ["run_id", "kwargs"]})
    assert [row["kwargs"]["input"]["value"] for row in answer.json()] == [1, 0]
    assert set(answer.json()[0]) == {"run_id", "kwargs"}
    assert "x-pagination-total" not in answer.headers
    assert (await http.get(path, params={"status": "pending"})).json() == []
    assert len((await http.get(path, params={"status": "success"})).json()) == 3


async def test_cancel_stops_a_running_run(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "sleeps", input={})
    ids = thread["thread_id"], run["run_id"]

    async def has_begun() -> bool:
        return bool((await client.threads.get_state(ids[0]))["next"])

    await eventually(has_begun, within_s=10)
    await client.runs.cancel(*ids, wait=True)
    assert await _status(client, *ids) == "interrupted"
    assert (await client.threads.get(thread["thread_id"]))["status"] == "interrupted"
    with pytest.raises(NotFoundError, match="No runs found to cancel"):
        await client.runs.cancel(*ids)


async def test_cancel_ends_a_waiting_run_before_it_starts(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    first = await client.runs.create(thread["thread_id"], "sleeps", input={})
    second = await client.runs.create(thread["thread_id"], "noop", input={})
    await client.runs.cancel(thread["thread_id"], second["run_id"])
    assert await _status(client, thread["thread_id"], second["run_id"]) == "interrupted"
    await client.runs.cancel(thread["thread_id"], first["run_id"], wait=True)


async def test_cancel_with_rollback_takes_the_run_back(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "noop", input={"value": "before"})
    run = await client.runs.create(thread["thread_id"], "sleeps", input={"value": "lost"})
    ids = thread["thread_id"], run["run_id"]
    await eventually(lambda: _status(client, *ids), equals="running", within_s=10)
    await client.runs.cancel(*ids, wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(*ids)
    shown = await client.threads.get(thread["thread_id"])
    assert (shown["status"], shown["values"]) == ("idle", {"value": "before"})


async def test_cancel_answers_202_and_200_when_it_waits(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "sleeps", input={})
    path = f"/threads/{thread['thread_id']}/runs/{run['run_id']}/cancel"
    told = await http.post(path, params={"wait": "0"})
    assert (told.status_code, told.content) == (202, b"")
    stopped = await http.post(path, params={"wait": "true"})
    assert (stopped.status_code, stopped.json()) in ((200, {}), (404, stopped.json()))
    assert (await http.post(path, params={"action": "explode"})).status_code == 422


async def test_delete_removes_a_run_with_what_it_saved(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "noop", input={"value": 1})
    await client.runs.wait(thread["thread_id"], "noop", input={"value": 2})
    newest, _ = await client.runs.list(thread["thread_id"])
    await client.runs.delete(thread["thread_id"], newest["run_id"])
    with pytest.raises(NotFoundError):
        await client.runs.get(thread["thread_id"], newest["run_id"])
    assert (await client.threads.get_state(thread["thread_id"]))["values"] == {"value": 1}
    assert (await client.threads.get(thread["thread_id"]))["values"] == {"value": 1}
    with pytest.raises(NotFoundError):
        await client.runs.delete(thread["thread_id"], newest["run_id"])


async def test_delete_stops_a_running_run_and_frees_the_thread(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "sleeps", input={})
    ids = thread["thread_id"], run["run_id"]
    await eventually(lambda: _status(client, *ids), equals="running", within_s=10)
    await client.runs.delete(*ids)
    with pytest.raises(NotFoundError):
        await client.runs.get(*ids)
    assert (await client.threads.get(thread["thread_id"]))["status"] == "idle"


async def test_an_older_run_is_joined_with_its_own_values(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    thread = await client.threads.create()
    for value in (1, 2):
        await client.runs.wait(thread["thread_id"], "noop", input={"value": value})
    older = (await client.runs.list(thread["thread_id"]))[1]
    assert await client.runs.join(thread["thread_id"], older["run_id"]) == {"value": 1}
    unknown = await http.get(f"/threads/{thread['thread_id']}/runs/{uuid4()}/join")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Run not found."})


async def test_many_may_wait_for_one_run(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "steps", input={"steps": 3, "pause_s": 0.1})
    joined = await asyncio.gather(
        *(client.runs.join(thread["thread_id"], run["run_id"]) for _ in range(5))
    )
    assert [values["log"] for values in joined] == [[1, 2, 3]] * 5


async def test_a_client_that_leaves_can_take_its_run_along(
    client: LangGraphClient, stack: Stack
) -> None:
    thread = await client.threads.create()
    async with httpx.AsyncClient(base_url=stack.url) as leaving:
        body = {"assistant_id": "sleeps", "input": {}, "on_disconnect": "cancel"}
        async with leaving.stream(
            "POST", f"/threads/{thread['thread_id']}/runs/wait", json=body
        ) as answer:
            run_id = answer.headers["content-location"].rsplit("/", 1)[-1]
    await eventually(
        lambda: _status(client, thread["thread_id"], run_id), equals="interrupted", within_s=10
    )


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_durability_decides_how_many_checkpoints_there_are(
    client: LangGraphClient, durability: str
) -> None:
    thread = await client.threads.create()
    values = await client.runs.wait(
        thread["thread_id"],
        "steps",
        input={"steps": 3},
        durability=durability,
    )
    assert values["log"] == [1, 2, 3]
    states = await client.threads.get_history(thread["thread_id"], limit=20)
    assert len(states) == (1 if durability == "exit" else 5)
