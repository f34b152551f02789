"""A run that asks, and the ways to answer it (contract semantics.md 2 and 5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
PATIENCE_S = 30
TERMINAL = ("completed", "failed", "interrupted")
MANY = "When there are multiple pending interrupts, you must specify the interrupt id"


class Talk:
    """One thread of one graph, asked and answered by a client."""

    def __init__(self, client: LangGraphClient, http: httpx.AsyncClient, graph: str) -> None:
        self.client, self.http, self.graph = client, http, graph
        self.thread_id = str(uuid4())
        self.config: Any = {}

    async def begin(self, given: Any, **more: Any) -> Any:
        """What a waiting client gets; the thread is made on the way."""
        more.setdefault("if_not_exists", "create")
        return await self._wait(input=given, **more)

    async def command(self, **command: Any) -> Any:
        return await self._wait(command=command)

    async def answer(self, value: Any) -> Any:
        return await self.command(resume=value)

    async def go_on(self, **more: Any) -> Any:
        return await self._wait(input=None, **more)

    async def _wait(self, **given: Any) -> Any:
        client: Any = self.client
        return await client.runs.wait(
            self.thread_id, self.graph, raise_error=False, config=self.config, **given
        )

    async def status(self) -> str:
        return (await self.client.threads.get(self.thread_id))["status"]

    async def values(self) -> Any:
        return (await self.client.threads.get_state(self.thread_id))["values"]

    async def next(self) -> list[str]:
        return list((await self.client.threads.get_state(self.thread_id))["next"])

    async def pending(self) -> dict[str, str]:
        """Ids of what is asked, by question, as the thread's row and its state both show them."""
        shown: Any = (await self.client.threads.get(self.thread_id))["interrupts"]
        state: Any = await self.client.threads.get_state(self.thread_id)
        in_row = {task: asked for task, asked in shown.items() if asked}
        assert in_row == {t["id"]: t["interrupts"] for t in state["tasks"] if t["interrupts"]}
        every = [one for asked in in_row.values() for one in asked]
        assert by_id(every) == by_id(state["interrupts"])
        return {_text(one["value"]): one["id"] for one in every}


def by_id(interrupts: list[Any]) -> dict[str, Any]:
    return {one["id"]: (one["value"], one.get("response_schema")) for one in interrupts}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


MakeTalk = Callable[[str], Talk]


@pytest.fixture
def talk(client: LangGraphClient, http: httpx.AsyncClient) -> MakeTalk:
    return lambda graph: Talk(client, http, graph)


def script(*turns: Any) -> dict[str, Any]:
    """A user's message that tells the agents' model what to do."""
    text = f"go {uuid4().hex} ```stub {json.dumps(list(turns))}```"
    return {"messages": [{"role": "user", "content": text}]}


def calls(*wanted: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "args": args} for name, args in wanted]}


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
    talk: MakeTalk, graph: str, given: Any, n: int, durability: Any
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


async def test_over_the_protocol_the_same_is_asked_and_shown(talk: MakeTalk) -> None:
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
async def test_any_json_but_null_and_an_empty_map_is_an_answer(talk: MakeTalk, value: Any) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    assert await it.answer(value) == {"question": "q", "answer": value}
    assert (await it.status(), await it.pending()) == ("idle", {})


@pytest.mark.parametrize("nothing", [None, {}, {"f" * 32: "to another question"}])
async def test_what_answers_nothing_leaves_the_question_open(talk: MakeTalk, nothing: Any) -> None:
    it = talk("approval")
    first = await it.begin({"question": "q"})
    again = await it.answer(nothing)
    assert by_id(again["__interrupt__"]) == by_id(first["__interrupt__"])
    assert await it.status() == "interrupted"
    assert (await it.answer("yes"))["answer"] == "yes"


async def test_several_questions_take_no_bare_answer_and_stay_open(talk: MakeTalk) -> None:
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
async def test_some_of_several_may_be_answered_first(
    talk: MakeTalk, graph: str, journal: Any
) -> None:
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
    talk: MakeTalk, journal: Any
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


async def test_an_update_is_applied_with_the_answer(talk: MakeTalk) -> None:
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


async def test_an_update_alone_changes_the_state_and_leaves_the_question(talk: MakeTalk) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    await it.command(update={"question": "another"})
    assert (await it.values())["question"] == "another"
    assert await it.next() == ["ask"] and await it.status() == "interrupted"
    assert (await it.answer("yes"))["answer"] == "yes"


async def test_a_goto_adds_a_task_and_the_open_question_is_asked_again(talk: MakeTalk) -> None:
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


async def test_a_goto_with_an_answer_does_both(talk: MakeTalk) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    told = await it.command(resume="yes", goto="ask")
    assert told["answer"] == "yes" or told["__interrupt__"]


async def test_new_input_instead_of_an_answer_starts_over(talk: MakeTalk) -> None:
    it = talk("approval")
    await it.begin({"question": "old"})
    old = await it.pending()
    told = await it.begin({"question": "new"})
    assert [one["value"] for one in told["__interrupt__"]] == [{"question": "new"}]
    new = await it.pending()
    assert len(new) == 1 and set(new.values()).isdisjoint(old.values())
    assert (await it.answer("yes")) == {"question": "new", "answer": "yes"}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"input": None}, "EmptyInputError"),
    ],
)
async def test_nothing_to_go_on_with_is_an_error(
    client: LangGraphClient, given: Any, error: str | None
) -> None:
    thread = await client.threads.create()
    told: Any = await client.runs.wait(thread["thread_id"], "approval", raise_error=False, **given)
    assert told["__error__"]["error"] == (error or told["__error__"]["error"])
    (run,) = await client.runs.list(thread["thread_id"])
    assert run["status"] == "error"
    shown = await client.threads.get(thread["thread_id"])
    assert (shown["status"], shown["interrupts"]) == ("error", {})
    # It harmed nothing.
    asked: Any = await client.runs.wait(thread["thread_id"], "approval", input={"question": "q"})
    assert asked["__interrupt__"]


async def test_an_answer_that_only_asks_for_an_unknown_node_does_no_harm(talk: MakeTalk) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    asked = await it.pending()
    await it.command(goto="nowhere")
    assert await it.pending() == asked
    assert (await it.answer("yes"))["answer"] == "yes"


# -- breakpoints


async def test_every_node_can_be_a_breakpoint(talk: MakeTalk) -> None:
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


async def test_after_a_node_its_result_can_be_looked_at_and_changed(talk: MakeTalk) -> None:
    it = talk("tale")
    stopped = await it.begin({"title": "t"}, interrupt_after=["first"])
    assert stopped["log"] == ["first"] and "__interrupt__" not in stopped
    assert await it.next() == ["second"]
    assert await requested(it.http, it.thread_id) == {}
    await it.client.threads.update_state(it.thread_id, {"log": ["edited"]}, as_node="first")
    assert (await it.go_on())["log"] == ["first", "edited", "second", "third"]


async def test_a_stream_tells_a_breakpoint_without_a_question(talk: MakeTalk) -> None:
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


async def test_a_breakpoint_that_names_no_node_stops_nothing(talk: MakeTalk) -> None:
    it = talk("tale")
    done = await it.begin({"title": "t"}, interrupt_before=["nowhere"])
    assert done["log"] == ["first", "second", "third"]


# -- subgraphs and tools


async def test_a_subgraph_shows_where_it_waits_and_is_answered_on_its_parent(
    talk: MakeTalk,
) -> None:
    it = talk("branches")
    await it.begin({"answers": {}})
    state: Any = await it.client.threads.get_state(it.thread_id, subgraphs=True)
    waiting = {task["name"]: task for task in state["tasks"] if task["interrupts"]}
    assert set(waiting) == {"east", "west"}
    for name, task in waiting.items():
        assert task["checkpoint"]["checkpoint_ns"].startswith(f"{name}:")
        assert task["state"]["next"] == ["inner"]
        assert by_id(task["state"]["interrupts"]) == by_id(task["interrupts"])
    asked = await it.pending()
    done = await it.answer({asked["east?"]: "E", asked["west?"]: "W"})
    assert done["answers"] == {"east": "E", "west": "W", "calm": True}


async def test_tools_that_ask_in_parallel_are_answered_one_by_one(
    talk: MakeTalk, journal: Any
) -> None:
    it = talk("reviewed")
    it.config = {"configurable": {"journal": journal.path}}
    wanted = [("ask_user", {"question": "a?"}), ("ask_user", {"question": "b?"}), ("look", {})]
    await it.begin(script(calls(*wanted), {"text": "done"}))
    asked = await it.pending()
    assert set(asked) == {"a?", "b?"}
    await it.answer({asked["b?"]: "B"})
    assert set(await it.pending()) == {"a?"}
    done = await it.answer("A")
    results = [one["content"] for one in done["messages"] if one["type"] == "tool"]
    assert sorted(results) == ["seen", "the user said A", "the user said B"]
    assert done["messages"][-1]["content"] == "done"
    assert journal.firsts().count("looked") == 1, "a finished tool does not run again"


# -- review of tool calls

DECISIONS: list[Any] = [
    {"type": "approve"},
    {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 20}}},
    {"type": "reject", "message": "too much"},
    {"type": "respond", "message": "I paid it myself"},
]


def told_by_tools(values: Any) -> list[tuple[str, str]]:
    """Status and last words of each tool message, in the order of the calls."""
    messages = values["messages"]
    order = [call["id"] for one in messages if one["type"] == "ai" for call in one["tool_calls"]]
    found = {one["tool_call_id"]: one for one in messages if one["type"] == "tool"}
    return [(found[id_]["status"], found[id_]["content"].splitlines()[-1]) for id_ in order]


RESULTS = [
    ("success", "paid 1"),
    ("success", "paid 20"),
    ("error", "User rejected the tool call for `pay` with reason: too much"),
    ("success", "I paid it myself"),
]


async def test_a_batch_of_calls_is_reviewed_with_all_four_decisions(
    talk: MakeTalk, journal: Any
) -> None:
    it = talk("reviewed")
    it.config = {"configurable": {"journal": journal.path}}
    wanted = [("pay", {"amount": amount}) for amount in (1, 2, 3, 4)]
    told = await it.begin(script(calls(*wanted, ("look", {})), {"text": "done"}))
    (asked,) = told["__interrupt__"]
    assert [one["args"] for one in asked["value"]["action_requests"]] == [a for _, a in wanted]
    allowed = ["approve", "edit", "reject", "respond"]
    assert (
        asked["value"]["review_configs"]
        == [{"action_name": "pay", "allowed_decisions": allowed}] * 4
    )
    assert journal.lines() == [], "nothing is paid before it is decided"
    done = await it.answer({"decisions": DECISIONS})
    assert told_by_tools(done)[:4] == RESULTS
    assert sorted(journal.lines()) == [["looked"], ["paid", "1"], ["paid", "20"]]
    assert done["messages"][-1]["content"] == "done"
    assert (await it.status(), await it.pending()) == ("idle", {})


async def test_calls_are_reviewed_one_by_one_with_all_four_decisions(
    talk: MakeTalk, journal: Any
) -> None:
    it = talk("reviewed_each")
    it.config = {"configurable": {"journal": journal.path}}
    wanted = [("pay", {"amount": amount}) for amount in (1, 2, 3, 4)]
    told = await it.begin(script(calls(*wanted, ("look", {})), {"text": "done"}))
    asked = {one["value"]["args"]["amount"]: one for one in told["__interrupt__"]}
    assert all(one["value"]["type"] == "tool_approval" for one in asked.values())
    assert all(one["response_schema"] for one in asked.values())
    assert journal.firsts() == ["looked"]
    for amount, decision in zip((1, 2, 3), DECISIONS, strict=False):
        await it.answer({asked[amount]["id"]: decision})
        assert asked[amount]["id"] not in (await it.pending()).values()
    done = await it.answer({asked[4]["id"]: DECISIONS[3]})
    assert told_by_tools(done)[:4] == RESULTS
    assert sorted(journal.lines()) == [["looked"], ["paid", "1"], ["paid", "20"]]


async def test_a_decision_that_does_not_fit_can_be_given_again(
    talk: MakeTalk, journal: Any
) -> None:
    it = talk("reviewed_each")
    it.config = {"configurable": {"journal": journal.path}}
    await it.begin(script(calls(("pay", {"amount": 1})), {"text": "done"}))
    asked = await it.pending()
    told = await it.answer({"type": "shrug"})
    assert "__error__" in told
    assert (await it.status(), await it.pending()) == ("error", asked)
    done = await it.answer({"type": "approve"})
    assert told_by_tools(done) == [("success", "paid 1")]
    assert journal.firsts() == ["paid"]


# -- over a restart


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncGenerator[tuple[LangGraphClient, httpx.AsyncClient]]:
    async with (
        get_client(url=stack.url, api_key=None) as client,
        httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE_S) as http,
    ):
        yield client, http


async def test_questions_survive_the_restart_of_everything(
    tmp_path: Path, model_server: Any, journal: Any
) -> None:
    env = {"SCRIPTED_MODEL_URL": model_server.url, "LANGSMITH_TRACING": "false"}
    data = tmp_path / "data"
    async with Stack(data, project=GRAPHS, env=env) as before, _clients(before) as (client, http):
        half = Talk(client, http, "branches")
        half.config = {"configurable": {"journal": journal.path}}
        await half.begin({"answers": {}})
        asked = await half.pending()
        await half.answer({asked["east?"]: "E"})
        twice = Talk(client, http, "asks_twice")
        await twice.begin({"answers": {}})
        await twice.answer(1)
        reviewed = Talk(client, http, "reviewed")
        reviewed.config = {"configurable": {"journal": journal.path}}
        wanted = [("pay", {"amount": 1}), ("pay", {"amount": 2})]
        await reviewed.begin(script(calls(*wanted), {"text": "done"}))
        inside = Talk(client, http, "subgraphs")
        await inside.begin({"visited": [], "asks": True})
        stopped = Talk(client, http, "tale")
        await stopped.begin({"title": "t"}, interrupt_before=["third"])
        talks = [half, twice, reviewed, inside, stopped]
        shown = [await each.pending() for each in talks]
    async with Stack(data, project=GRAPHS, env=env) as after, _clients(after) as (client, http):
        for each in talks:
            each.client, each.http = client, http
        assert [await each.pending() for each in talks] == shown
        assert [await each.status() for each in talks] == ["interrupted"] * len(talks)
        done = await half.answer("W")
        assert done["answers"] == {"east": "E", "west": "W", "calm": True}
        assert journal.firsts().count("calm") == 1
        assert (await twice.answer(2))["answers"] == {"first": 1, "second": 2}
        done = await reviewed.answer({"decisions": [{"type": "approve"}, {"type": "reject"}]})
        assert [status for status, _ in told_by_tools(done)] == ["success", "error"]
        assert (await inside.answer("yes"))["answer"] == "yes"
        assert (await stopped.go_on())["log"] == ["first", "second", "third"]


# -- what does not open


async def test_a_graph_that_does_not_open_keeps_the_question(talk: MakeTalk) -> None:
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
