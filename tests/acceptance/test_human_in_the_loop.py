"""A run that asks, and the ways to answer it (contract semantics.md 2 and 5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from bedplate.testing.talks import by_id, calls, script

PATIENCE_S = 30
UNKNOWN = "1f0c0000-0000-6000-8000-000000000000"
TERMINAL = ("completed", "failed", "interrupted")
MANY = "When there are multiple pending interrupts, you must specify the interrupt id"


# -- where a client looks


async def requested(http: httpx.AsyncClient, thread_id: str, *, runs: int = 1) -> dict[str, Any]:
    """What the event-streaming protocol asks for, read up to the end of so many runs."""
    found: dict[str, Any] = {}
    body = {"channels": ["input", "lifecycle"]}
    async with (
        asyncio.timeout(PATIENCE_S),
        http.stream("POST", f"/threads/{thread_id}/stream/events", json=body) as answer,
    ):
        async for event in _events(answer):
            params = event["params"]
            if event["method"] == "input.requested":
                data = params["data"]
                assert data["payload"] == data["value"]
                found[data["interrupt_id"]] = (data["payload"], data.get("response_schema"))
            elif params["namespace"] == []:
                runs -= params["data"]["event"] in TERMINAL
            if runs == 0:
                break
    return found


async def _events(answer: httpx.Response) -> AsyncIterator[Any]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


ASKING: list[tuple[str, Any, int]] = [
    ("approval", {"question": "q"}, 1),
    ("two_approvals", {"answers": {}}, 2),
    ("subgraphs", {"visited": [], "asks": True}, 1),
    ("branches", {"answers": {}}, 2),
    ("asks_twice", {"answers": {}}, 1),
    ("reviewed", script(calls(("pay", {"amount": 1}), ("pay", {"amount": 2}))), 1),
    ("reviewed_each", script(calls(("pay", {"amount": 1}), ("pay", {"amount": 2}))), 2),
    ("reviewed", script(calls(("ask_user", {"question": "a?"}))), 1),
]


@pytest.mark.parametrize(("graph", "given", "n"), ASKING)
@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_all_places_where_a_client_looks_show_the_same(
    talk: Any, graph: str, given: Any, n: int, durability: Any
) -> None:
    it = talk(graph)
    streamed: dict[str, dict[str, Any]] = {"values": {}, "updates": {}}
    async for part in it.client.runs.stream(
        it.thread_id,
        graph,
        input=given,
        stream_mode=["values", "updates"],
        durability=durability,
        if_not_exists="create",
    ):
        assert part.event != "error", part.data
        if part.event in streamed and "__interrupt__" in part.data:
            streamed[part.event] |= by_id(part.data["__interrupt__"])
    state: Any = await it.client.threads.get_state(it.thread_id)
    shown = by_id(state["interrupts"])
    assert len(shown) == n
    assert streamed == {"values": shown, "updates": shown}
    assert set((await it.pending()).values()) == set(shown)
    assert await requested(it.http, it.thread_id) == shown
    (row,) = await it.client.threads.search(ids=[it.thread_id], status="interrupted")
    assert row["interrupts"] == (await it.client.threads.get(it.thread_id))["interrupts"]
    (run,) = await it.client.runs.list(it.thread_id)
    assert run["status"] == "success"
    joined: Any = await it.client.runs.join(it.thread_id, run["run_id"])
    assert by_id(joined["__interrupt__"]) == shown


async def test_over_the_protocol_the_same_is_asked_and_shown(talk: Any) -> None:
    it = talk("branches")
    path = f"/threads/{it.thread_id}/commands"
    start = {"assistant_id": "branches", "input": {"answers": {}}}
    await it.http.post(path, json={"id": 1, "method": "run.start", "params": start})
    asked = await requested(it.http, it.thread_id)
    assert set(asked) == set((await it.pending()).values())
    one = next(iter(asked))
    answer = {"interrupt_id": one, "response": "yes"}
    told = await it.http.post(path, json={"id": 2, "method": "input.respond", "params": answer})
    assert told.json()["type"] == "success", told.text
    await requested(it.http, it.thread_id, runs=2)
    assert set((await it.pending()).values()) == set(asked) - {one}


# -- answers


@pytest.mark.parametrize("value", [False, 0, 0.5, "", "yes", [], [1], {"a": 1}, True])
async def test_any_json_but_null_and_an_empty_map_is_an_answer(talk: Any, value: Any) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    assert await it.answer(value) == {"question": "q", "answer": value}
    assert (await it.status(), await it.pending()) == ("idle", {})


@pytest.mark.parametrize("nothing", [None, {}, {"f" * 32: "to another question"}])
async def test_what_answers_nothing_leaves_the_question_open(talk: Any, nothing: Any) -> None:
    it = talk("approval")
    first = await it.begin({"question": "q"})
    again = await it.answer(nothing)
    assert by_id(again["__interrupt__"]) == by_id(first["__interrupt__"])
    assert await it.status() == "interrupted"
    assert (await it.answer("yes"))["answer"] == "yes"


async def test_several_questions_take_no_bare_answer_and_stay_open(talk: Any) -> None:
    it = talk("two_approvals")
    await it.begin({"answers": {}})
    asked = await it.pending()
    told = await it.answer("yes")
    assert told["__error__"]["error"] == "RuntimeError"
    assert told["__error__"]["message"].startswith(MANY)
    assert (await it.status(), await it.pending()) == ("error", asked)
    done = await it.answer({asked["left?"]: 1, asked["right?"]: 2})
    assert done["answers"] == {"left": 1, "right": 2}
    assert await it.status() == "idle"


@pytest.mark.parametrize("graph", ["two_approvals", "branches"])
async def test_some_of_several_may_be_answered_first(talk: Any, graph: str, journal: Any) -> None:
    it = talk(graph)
    it.config = {"configurable": {"journal": journal.path}}
    await it.begin({"answers": {}})
    asked = await it.pending()
    one, other = sorted(asked)
    told = await it.answer({asked[one]: "first", "e" * 32: "nobody asked"})
    assert set(by_id(told["__interrupt__"])) == {asked[other]}
    assert await it.pending() == {other: asked[other]}, "the id stays until it is answered"
    assert await it.status() == "interrupted"
    # The answered one has kept its result: only one is left, so a bare value will do.
    done = await it.answer("second")
    assert (done["answers"][one[:-1]], done["answers"][other[:-1]]) == ("first", "second")
    assert done["is_joined"]
    if graph == "branches":
        runs = journal.firsts()
        assert runs.count("calm") == 1, "a finished sibling does not run again"
        assert (runs.count(one[:-1]), runs.count(other[:-1])) == (2, 3)


async def test_a_second_question_of_a_node_replays_the_first_answer(
    talk: Any, journal: Any
) -> None:
    it = talk("asks_twice")
    it.config = {"configurable": {"journal": journal.path}}
    await it.begin({"answers": {}})
    (first,) = (await it.pending()).items()
    assert first[0] == "first?"
    told = await it.answer(1)
    assert [one["value"] for one in told["__interrupt__"]] == ["second, after 1?"]
    (second,) = (await it.pending()).items()
    assert second[1] != first[1]
    done = await it.answer({second[1]: 2})
    assert done["answers"] == {"first": 1, "second": 2}
    assert journal.firsts() == ["twice"] * 3


async def test_an_update_is_applied_with_the_answer(talk: Any) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    done = await it.command(resume="yes", update={"question": "another"})
    assert done == {"question": "another", "answer": "yes"}
    it = talk("two_approvals")
    await it.begin({"answers": {}})
    asked = await it.pending()
    resume = {asked["left?"]: 1}
    await it.command(resume=resume, update=[["answers", {"note": "a pair"}]])
    assert (await it.values())["answers"]["note"] == "a pair"
    assert set(await it.pending()) == {"right?"}


async def test_an_update_alone_changes_the_state_and_leaves_the_question(talk: Any) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    await it.command(update={"question": "another"})
    assert (await it.values())["question"] == "another"
    assert await it.next() == ["ask"] and await it.status() == "interrupted"
    assert (await it.answer("yes"))["answer"] == "yes"


async def test_a_goto_adds_a_task_and_the_open_question_is_asked_again(talk: Any) -> None:
    it = talk("two_approvals")
    await it.begin({"answers": {}})
    asked = await it.pending()
    told = await it.command(goto="join")
    assert set(by_id(told["__interrupt__"])) == set(asked.values())
    assert set(await it.pending()) == set(asked)
    it = talk("two_approvals")
    await it.begin({"answers": {}})
    told = await it.command(goto={"node": "left", "input": {"answers": {}}})
    assert {one["value"] for one in told["__interrupt__"]} == {"left?", "right?"}
    assert len(await it.client.runs.list(it.thread_id)) == 2


async def test_a_goto_with_an_answer_does_both(talk: Any) -> None:
    it = talk("two_approvals")
    await it.begin({"answers": {}})
    asked = await it.pending()
    told = await it.command(resume={asked["left?"]: 1}, goto="join")
    assert (told["answers"], told["is_joined"]) == ({"left": 1}, True)
    assert set(await it.pending()) == {"right?"}


async def test_new_input_instead_of_an_answer_starts_over(talk: Any) -> None:
    it = talk("approval")
    await it.begin({"question": "old"})
    old = await it.pending()
    told = await it.begin({"question": "new"})
    assert [one["value"] for one in told["__interrupt__"]] == [{"question": "new"}]
    new = await it.pending()
    assert len(new) == 1 and set(new.values()).isdisjoint(old.values())
    assert (await it.answer("yes")) == {"question": "new", "answer": "yes"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"input": None}, "no input"),
        ({"command": {"resume": "yes"}}, "nothing to resume"),
        ({"command": {"resume": {"f" * 32: "yes"}}}, "nothing to resume"),
        ({"command": {"resume": False, "goto": "ask"}}, "nothing to resume"),
        ({"command": {"resume": "yes"}, "checkpoint_id": UNKNOWN}, "nothing to resume"),
    ],
)
async def test_nothing_to_go_on_with_is_an_error(
    client: LangGraphClient, given: Any, why: str
) -> None:
    thread = await client.threads.create()
    told: Any = await client.runs.wait(thread["thread_id"], "approval", raise_error=False, **given)
    assert told["__error__"]["error"] == "EmptyInputError"
    assert why in told["__error__"]["message"]
    (run,) = await client.runs.list(thread["thread_id"])
    assert run["status"] == "error"
    shown = await client.threads.get(thread["thread_id"])
    assert (shown["status"], shown["interrupts"]) == ("error", {})
    # It harmed nothing.
    asked: Any = await client.runs.wait(thread["thread_id"], "approval", input={"question": "q"})
    assert asked["__interrupt__"]


async def test_an_answer_that_only_asks_for_an_unknown_node_does_no_harm(talk: Any) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    asked = await it.pending()
    await it.command(goto="nowhere")
    assert await it.pending() == asked
    assert (await it.answer("yes"))["answer"] == "yes"


# -- breakpoints


async def test_every_node_can_be_a_breakpoint(talk: Any) -> None:
    it = talk("tale")
    seen = [(await it.begin({"title": "t"}, interrupt_before="*")).get("log", [])]
    nexts = [await it.next()]
    while nexts[-1]:
        assert (await it.status(), await it.pending()) == ("interrupted", {})
        seen.append((await it.go_on(interrupt_before="*"))["log"])
        nexts.append(await it.next())
    assert seen == [[], ["first"], ["first", "second"], ["first", "second", "third"]]
    assert nexts == [["first"], ["second"], ["third"], []]
    assert await it.status() == "idle"


async def test_after_a_node_its_result_can_be_looked_at_and_changed(talk: Any) -> None:
    it = talk("tale")
    stopped = await it.begin({"title": "t"}, interrupt_after=["first"])
    assert stopped["log"] == ["first"] and "__interrupt__" not in stopped
    assert await it.next() == ["second"]
    assert await requested(it.http, it.thread_id) == {}
    await it.client.threads.update_state(it.thread_id, {"log": ["edited"]}, as_node="first")
    assert (await it.go_on())["log"] == ["first", "edited", "second", "third"]


async def test_a_stream_tells_a_breakpoint_without_a_question(talk: Any) -> None:
    it = talk("tale")
    parts = [
        part
        async for part in it.client.runs.stream(
            it.thread_id,
            "tale",
            input={"title": "t"},
            stream_mode="updates",
            interrupt_after="*",
            if_not_exists="create",
        )
    ]
    assert [part.data for part in parts if part.event == "updates"] == [
        {"first": {"log": ["first"]}},
        {"__interrupt__": []},
    ]


async def test_a_breakpoint_that_names_no_node_stops_nothing(talk: Any) -> None:
    it = talk("tale")
    done = await it.begin({"title": "t"}, interrupt_before=["nowhere"])
    assert done["log"] == ["first", "second", "third"]


# -- what does not open


async def test_a_graph_that_does_not_open_keeps_the_question(talk: Any) -> None:
    it = talk("factory_fails")
    await it.begin({"question": "q"})
    before = await it.client.threads.get(it.thread_id)
    assert before["interrupts"]
    it.config = {"configurable": {"fails": True}}
    told = await it.answer("lost?")
    assert told["__error__"]["message"] == "this factory fails"
    after = await it.client.threads.get(it.thread_id)
    assert after["status"] == "error"
    assert after["interrupts"] == before["interrupts"]
    assert after["values"] == before["values"]
    it.config = {"configurable": {"fails": False}}
    assert (await it.answer("yes"))["answer"] == "yes"
