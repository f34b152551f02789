"""Back to an earlier state, and on from there (contract semantics.md 6, endpoints.md 4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError

from bedplate.testing.eventually import eventually

PATIENCE_S = 30
STORY = ["first", "second", "third"]
UNKNOWN = "1f0c0000-0000-6000-8000-000000000000"


class Story:
    """One thread of one graph with its past."""

    def __init__(self, client: LangGraphClient, graph: str, thread_id: str = "") -> None:
        self.client: Any = client
        self.graph = graph
        self.thread_id = thread_id or str(uuid4())
        self.config: Any = {}

    async def run(self, given: Any = None, **more: Any) -> Any:
        more.setdefault("if_not_exists", "create")
        return await self.client.runs.wait(
            self.thread_id,
            self.graph,
            input=given,
            config=self.config,
            raise_error=False,
            **more,
        )

    async def states(self, **asked: Any) -> list[Any]:
        """The past, oldest first."""
        asked.setdefault("limit", 100)
        return (await self.client.threads.get_history(self.thread_id, **asked))[::-1]

    async def ids(self, **asked: Any) -> list[str]:
        return [state["checkpoint"]["checkpoint_id"] for state in await self.states(**asked)]

    async def at(self, step: int) -> Any:
        """The oldest state of that step."""
        return next(s for s in await self.states() if s["metadata"]["step"] == step)

    async def state(self, **asked: Any) -> Any:
        return await self.client.threads.get_state(self.thread_id, **asked)

    async def row(self) -> Any:
        return await self.client.threads.get(self.thread_id)

    async def edit(self, values: Any, **more: Any) -> Any:
        return await self.client.threads.update_state(self.thread_id, values, **more)

    async def shows_its_newest_state(self) -> None:
        row, state = await self.row(), await self.state()
        assert row["values"] == state["values"]
        assert row["status"] == ("interrupted" if state["next"] else "idle")


MakeStory = Callable[..., Story]


@pytest.fixture
def story(client: LangGraphClient) -> MakeStory:
    def make(graph: str = "tale", thread_id: str = "") -> Story:
        return Story(client, graph, thread_id)

    return make


def script(*turns: Any) -> dict[str, Any]:
    """A user's message that tells the deep agent's model what to do."""
    text = f"go {uuid4().hex} ```stub {json.dumps(list(turns))}```"
    return {"messages": [{"role": "user", "content": text}]}


def notes(*steps: int) -> dict[str, Any]:
    turns = [{"tool_calls": [{"name": "note", "args": {"step": step}}]} for step in steps]
    return script(*turns, {"text": f"noted {steps[-1]}"})


def texts(state: Any) -> list[str]:
    return [one["content"] for one in state["values"]["messages"]]


def place(state: Any) -> str:
    return state["checkpoint"]["checkpoint_id"]


# -- history


async def test_a_past_of_several_runs_is_one_line_of_steps(story: MakeStory) -> None:
    it = story()
    await it.run({"title": "one"}, metadata={"chapter": 1})
    await it.run({"title": "two"}, metadata={"chapter": 2})
    states = await it.states()
    assert [s["metadata"]["step"] for s in states] == list(range(-1, 9))
    sources = [s["metadata"]["source"] for s in states]
    assert sources == ["input", *["loop"] * 4] * 2
    assert [s["metadata"]["chapter"] for s in states] == [1] * 5 + [2] * 5
    parents = [s["parent_checkpoint"] and s["parent_checkpoint"]["checkpoint_id"] for s in states]
    assert parents == [None, *[place(s) for s in states[:-1]]]
    assert all(s["checkpoint"]["thread_id"] == it.thread_id for s in states)
    assert [list(s["next"]) for s in states[1:5]] == [["first"], ["second"], ["third"], []]
    assert [s["tasks"][0]["result"] for s in states[1:4]] == [{"log": [word]} for word in STORY]


async def test_history_is_found_by_metadata_and_read_in_pages(story: MakeStory) -> None:
    it = story()
    for chapter in (1, 2, 3):
        await it.run({"title": "t"}, metadata={"chapter": chapter, "kind": {"a": 1, "b": 2}})
    runs = await it.client.runs.list(it.thread_id)
    every = await it.ids()
    assert len(every) == 15
    pages: list[str] = []
    before = None
    while page := (await it.ids(limit=4, before=before))[::-1]:
        pages += page
        before = {"configurable": {"checkpoint_id": page[-1]}}
    assert pages[::-1] == every
    assert await it.ids(metadata={"chapter": 2}) == every[5:10]
    assert await it.ids(metadata={"run_id": runs[0]["run_id"]}) == every[10:]
    assert await it.ids(metadata={"source": "input", "chapter": 3}) == every[10:11]
    assert await it.ids(metadata={"chapter": "2"}) == []
    assert await it.ids(metadata={"chapter": 2}, before=every[7]) == every[5:7]
    assert await it.ids(before=every[0]) == []


async def test_a_subgraph_has_a_history_of_its_own(story: MakeStory) -> None:
    it = story("subgraphs")
    await it.run({"visited": [], "asks": True})
    (task,) = (await it.state())["tasks"]
    inside = task["checkpoint"]
    states = await it.states(checkpoint={"checkpoint_ns": inside["checkpoint_ns"]})
    assert [list(s["next"]) for s in states][-2:] == [["inner_first"], ["inner_second"]]
    assert {s["checkpoint"]["checkpoint_ns"] for s in states} == {inside["checkpoint_ns"]}
    state = await it.state(checkpoint=inside)
    assert list(state["next"]) == ["inner_second"]
    assert state["interrupts"] == (await it.state())["interrupts"]


async def test_a_waiting_subgraph_can_be_edited_from_outside(story: MakeStory) -> None:
    it = story("subgraphs")
    await it.run({"visited": [], "asks": True})
    (task,) = (await it.state())["tasks"]
    await it.edit({"visited": ["edited"]}, checkpoint=task["checkpoint"])
    (task,) = (await it.state(subgraphs=True))["tasks"]
    assert "edited" in task["state"]["values"]["visited"]
    assert (await it.row())["status"] == "interrupted"
    done = await it.run(command={"resume": "yes"})
    assert "edited" in done["visited"] and done["visited"][-1] == "after"


# -- again from the past


async def test_what_follows_a_checkpoint_runs_again_and_the_old_branch_stays(
    story: MakeStory, journal: Any
) -> None:
    it = story()
    await it.run({"title": "t", "journal": journal.path})
    old = await it.states()
    past = await it.at(1)
    assert await it.run(checkpoint_id=place(past)) | {"journal": ""} == {
        "log": STORY,
        "title": "t",
        "journal": "",
    }
    assert journal.firsts() == [*STORY, "second", "third"]
    states = await it.states()
    assert states[: len(old)] == old, "nothing of the old branch has changed"
    fork, *_, newest = states[len(old) :]
    assert fork["metadata"]["source"] == "fork"
    assert fork["parent_checkpoint"]["checkpoint_id"] == place(past)
    assert place(await it.state()) == place(newest)
    await it.shows_its_newest_state()


async def test_input_is_applied_where_the_run_begins(story: MakeStory) -> None:
    it = story()
    await it.run({"title": "old"})
    old = await it.states()
    done = await it.run({"title": "new"}, checkpoint=old[2]["checkpoint"])
    assert done == {"title": "new", "log": ["first", *STORY]}
    assert (await it.states())[: len(old)] == old
    (given,) = [s for s in await it.states(metadata={"source": "input"}) if s not in old]
    assert given["parent_checkpoint"]["checkpoint_id"] == place(old[2])
    await it.shows_its_newest_state()


@pytest.mark.parametrize("spelling", ["checkpoint_id", "checkpoint", "configurable"])
async def test_a_run_names_its_beginning_in_three_ways(story: MakeStory, spelling: str) -> None:
    it = story()
    await it.run({"title": "t"})
    past = await it.at(2)
    if spelling == "configurable":
        it.config = {"configurable": {"checkpoint_id": place(past)}}
        await it.run()
        it.config = {}
    else:
        await it.run(**{spelling: past[spelling]})
    (fork,) = await it.states(metadata={"source": "fork"})
    assert fork["parent_checkpoint"]["checkpoint_id"] == place(past)
    # Where one run began is not where the next one begins.
    assert (await it.run({"title": "on"}))["log"] == STORY * 2


async def test_an_unknown_checkpoint_is_an_empty_state(story: MakeStory) -> None:
    it = story()
    await it.run({"title": "t"})
    state = await it.state(checkpoint_id=UNKNOWN)
    assert (state["values"], list(state["next"]), state["tasks"]) == ({}, [], [])
    told = await it.run(checkpoint_id=UNKNOWN)
    assert told["__error__"]["error"] == "EmptyInputError"
    done = await it.run({"title": "fresh"}, checkpoint_id=UNKNOWN)
    assert done == {"title": "fresh", "log": STORY}
    await it.shows_its_newest_state()


async def test_an_answered_question_is_asked_again_in_the_past(story: MakeStory) -> None:
    it = story("asks_twice")
    await it.run({"answers": {}})
    asked = await it.state()
    await it.run(command={"resume": "a"})
    await it.run(command={"resume": "b"})
    assert (await it.row())["values"]["answers"] == {"first": "a", "second": "b"}
    again = await it.run(checkpoint_id=place(asked))
    assert [one["value"] for one in again["__interrupt__"]] == ["first?"]
    assert (await it.row())["status"] == "interrupted"
    await it.run(command={"resume": "c"})
    done = await it.run(command={"resume": "d"})
    assert done["answers"] == {"first": "c", "second": "d"}


# -- edits


async def test_an_edit_of_the_past_begins_a_branch(story: MakeStory) -> None:
    it = story()
    await it.run({"title": "t"})
    old = await it.states()
    past = await it.at(1)
    written = await it.edit({"log": ["other"], "title": "u"}, checkpoint_id=place(past))
    state = await it.state()
    assert place(state) == written["checkpoint"]["checkpoint_id"] == written["checkpoint_id"]
    assert state["metadata"]["source"] == "update"
    assert state["parent_checkpoint"]["checkpoint_id"] == place(past)
    assert state["values"] == {"log": ["first", "other"], "title": "u"}
    assert list(state["next"]) == ["second"], "the first one's word, if nobody else is named"
    await it.shows_its_newest_state()
    assert (await it.states())[: len(old)] == old
    done = await it.run(checkpoint=written["checkpoint"])
    assert done == {"log": ["first", "other", "second", "third"], "title": "u"}


@pytest.mark.parametrize(
    ("as_node", "following"),
    [
        ("__start__", ["first"]),
        ("first", ["second"]),
        ("second", ["third"]),
        ("third", []),
    ],
)
async def test_what_follows_an_edit_is_what_follows_its_node(
    story: MakeStory, as_node: str, following: list[str]
) -> None:
    it = story()
    await it.run({"title": "t"})
    await it.edit({"title": "edited"}, as_node=as_node)
    assert list((await it.state())["next"]) == following
    await it.shows_its_newest_state()
    if following:
        done = await it.run()
        assert done["log"] == STORY + STORY[STORY.index(following[0]) :]


async def test_an_edit_without_values_moves_on_and_the_end_ends(story: MakeStory) -> None:
    it = story()
    await it.run({"title": "t"}, interrupt_before=["second"])
    await it.edit(None, as_node="second")
    state = await it.state()
    assert (state["values"]["log"], list(state["next"])) == (["first"], ["third"])
    await it.edit(None, as_node="__end__")
    assert list((await it.state())["next"]) == []
    await it.shows_its_newest_state()
    assert (await it.state())["values"]["log"] == ["first"]


async def test_an_edit_without_anything_is_a_branch_as_it_was(story: MakeStory) -> None:
    it = story()
    await it.run({"title": "t"})
    past = await it.at(1)
    await it.edit(None, checkpoint_id=place(past))
    state = await it.state()
    assert (state["values"], list(state["next"])) == (past["values"], ["second"])
    await it.shows_its_newest_state()
    assert (await it.run())["log"] == STORY


async def test_the_end_drops_what_was_asked_also_of_an_agent(story: MakeStory) -> None:
    it = story("reviewed")
    await it.run(script({"tool_calls": [{"name": "pay", "args": {"amount": 1}}]}))
    assert (await it.row())["interrupts"]
    await it.edit(None, as_node="__end__")
    row = await it.row()
    assert (row["status"], row["interrupts"]) == ("idle", {})
    assert (await it.state())["interrupts"] == []


async def test_an_edit_keeps_what_else_is_asked(story: MakeStory) -> None:
    it = story("two_approvals")
    await it.run({"answers": {}})
    await it.edit({"answers": {"left": "by hand"}}, as_node="left")
    row, state = await it.row(), await it.state()
    by_task = {t["id"]: t["interrupts"] for t in state["tasks"] if t["interrupts"]}
    assert row["interrupts"] == by_task
    await it.shows_its_newest_state()


# -- a past that is written


def superstep(*updates: tuple[str, Any]) -> dict[str, Any]:
    return {"updates": [{"as_node": node, "values": values} for node, values in updates]}


async def test_supersteps_are_written_once(client: LangGraphClient, story: MakeStory) -> None:
    given: Any = {
        "thread_id": str(uuid4()),
        "graph_id": "tale",
        "supersteps": [superstep(("__start__", {"title": "t"}))],
        "if_exists": "do_nothing",
    }
    first = await client.threads.create(**given)
    again = await client.threads.create(**given)
    assert again["thread_id"] == first["thread_id"]
    it = story("tale", first["thread_id"])
    assert len(await it.states(metadata={"source": "input"})) <= 1
    assert len(await it.states()) == len(await it.states(metadata={"source": "update"})) + len(
        await it.states(metadata={"source": "input"})
    )
    with pytest.raises(ConflictError):
        await client.threads.create(**(given | {"if_exists": "raise"}))


# -- copies and prunes, also of threads whose messages are told by differences


async def test_a_deep_agents_thread_is_copied_with_its_past(story: MakeStory, journal: Any) -> None:
    it = story("agent")
    it.config = {"configurable": {"journal": journal.path}}
    await it.run(notes(1, 2))
    await it.run(notes(3))
    copied = await it.client.threads.copy(it.thread_id)
    copy = story("agent", copied["thread_id"])
    copy.config = it.config
    originals, copies = await it.states(), await copy.states()
    assert [s["values"] for s in copies] == [s["values"] for s in originals]
    assert [place(s) for s in copies] == [place(s) for s in originals]
    assert {s["checkpoint"]["thread_id"] for s in copies} == {copy.thread_id}
    assert {s["metadata"]["thread_id"] for s in copies} == {copy.thread_id}
    # Each goes its own way: on, and back.
    await copy.run(notes(4))
    assert [place(s) for s in await it.states()] == [place(s) for s in originals]
    past = next(s for s in originals if texts(s)[-1:] == ["step 1 is done"])
    back = await it.run(checkpoint_id=place(past))
    assert back["messages"][-1]["content"] == "noted 2"
    assert texts(await copy.state())[-1] == "noted 4"
    assert len(texts(await copy.state())) == len(texts(originals[-1])) + 4


async def test_a_deep_agents_past_can_be_gone_back_to_everywhere(
    story: MakeStory, journal: Any
) -> None:
    it = story("agent")
    it.config = {"configurable": {"journal": journal.path}}
    await it.run(notes(1, 2))
    old = await it.states()
    done = texts(old[-1])
    for past in old[1:-1:3]:
        if not past["next"]:
            continue
        again = await it.run(checkpoint_id=place(past))
        assert [one["content"] for one in again["messages"]] == done
        assert (await it.states())[: len(old)] == old
    await it.edit({"messages": [{"role": "user", "content": "by the way"}]}, as_node="model")
    assert texts(await it.state()) == [*done, "by the way"]
    await it.shows_its_newest_state()


async def test_a_pruned_deep_agent_goes_on_with_all_it_knew(story: MakeStory, journal: Any) -> None:
    it = story("agent")
    it.config = {"configurable": {"journal": journal.path}}
    await it.run(notes(1, 2))
    await it.run(notes(3))
    before, row = await it.state(), await it.row()
    pruned = await it.client.threads.prune([it.thread_id], strategy="keep_latest")
    assert pruned == {"pruned_count": 1}
    (left,) = await it.states()
    assert left["values"] == before["values"] and place(left) == place(before)
    assert (await it.row())["values"] == row["values"]
    done = await it.run(notes(4))
    assert [one["content"] for one in done["messages"]][: len(texts(before))] == texts(before)
    assert done["messages"][-1]["content"] == "noted 4"


async def test_a_pruned_thread_keeps_its_question(story: MakeStory) -> None:
    it = story("branches")
    await it.run({"answers": {}})
    before = await it.state(subgraphs=True)
    await it.client.threads.prune([it.thread_id], strategy="keep_latest")
    assert len(await it.states()) == 1
    after = await it.state(subgraphs=True)
    assert after["interrupts"] == before["interrupts"]
    assert (await it.row())["status"] == "interrupted"
    resume = {one["id"]: one["value"] for one in after["interrupts"]}
    done = await it.run(command={"resume": resume})
    assert done["answers"] == {"east": "east?", "west": "west?", "calm": True}


async def test_of_two_branches_the_newest_is_kept(story: MakeStory) -> None:
    it = story()
    await it.run({"title": "t"})
    await it.edit({"log": ["other"]}, checkpoint_id=place(await it.at(1)))
    kept = await it.state()
    await it.client.threads.prune([it.thread_id], strategy="keep_latest")
    (left,) = await it.states()
    assert (left["values"], left["next"]) == (kept["values"], kept["next"])
    assert (await it.run())["log"] == ["first", "other", "second", "third"]


async def test_a_busy_thread_is_not_pruned_under_its_run(story: MakeStory, tmp_path: Path) -> None:
    it = story("steps")
    gate = tmp_path / "gate"
    await it.client.threads.create(thread_id=it.thread_id)
    run = await it.client.runs.create(
        it.thread_id, "steps", input={"steps": 3, "gate": str(gate), "gate_at": 2}
    )

    async def count() -> int:
        return (await it.state())["values"].get("count", 0)

    await eventually(count, equals=1, within_s=PATIENCE_S)
    with pytest.raises(ConflictError):
        await it.client.threads.prune([it.thread_id], strategy="keep_latest")
    with pytest.raises(ConflictError):
        await it.edit({"log": [9]})
    gate.touch()
    assert (await it.client.runs.join(it.thread_id, run["run_id"]))["log"] == [1, 2, 3]
    assert len(await it.states()) == 5


async def test_a_pruned_thread_is_gone_with_its_runs(story: MakeStory) -> None:
    it, other = story(), story()
    await it.run({"title": "t"})
    await other.run({"title": "t"})
    assert await it.client.threads.prune([it.thread_id]) == {"pruned_count": 1}
    with pytest.raises(NotFoundError):
        await it.row()
    with pytest.raises(NotFoundError):
        await it.client.threads.copy(it.thread_id)
    assert len(await other.states()) == 5


# -- a step that failed


async def test_only_the_failed_step_is_done_again(
    story: MakeStory, journal: Any, tmp_path: Path
) -> None:
    it = story("siblings")
    gate = tmp_path / "gate"
    told = await it.run({"journal": journal.path, "gate": str(gate)})
    assert told["__error__"]["message"] == "not yet"
    state = await it.state()
    # What has finished is not next any more, or it is, with its result.
    tasks = {task["name"]: task for task in state["tasks"]}
    assert "not yet" in tasks["fragile"]["error"]
    assert tasks["steady"]["error"] is None and tasks["steady"]["result"] == {"log": ["steady"]}
    assert "fragile" in state["next"]
    row = await it.row()
    assert row["status"] == "error" and row["error"]["message"] == "not yet"
    again = await it.run()
    assert again["__error__"]["message"] == "not yet"
    gate.touch()
    done = await it.run()
    assert sorted(done["log"][:2]) == ["fragile", "steady"] and done["log"][2:] == ["last"]
    assert sorted(journal.firsts()) == ["fragile"] * 3 + ["last", "steady"]
    assert (await it.row())["error"] is None
    await it.shows_its_newest_state()


# -- what cannot be


BAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("state", {"values": {}, "checkpoint": {"checkpoint_id": 7}}, 422, "checkpoint.checkpoint_id"),
    ("state", {"values": {}, "checkpoint": {"checkpoint_ns": 7}}, 422, "checkpoint.checkpoint_ns"),
    ("state", {"values": {}, "checkpoint": {"checkpoint_map": []}}, 422, "checkpoint_map"),
    ("state", {"values": {}, "as_node": "nowhere"}, 400, "nowhere"),
    ("state", {"values": {}, "checkpoint": {"checkpoint_ns": "nowhere:1"}}, 400, "nowhere"),
    ("state/checkpoint", {"checkpoint": {}, "subgraphs": "yes"}, 422, "subgraphs"),
    ("history", {"checkpoint": {"checkpoint_ns": 7}}, 422, "checkpoint.checkpoint_ns"),
    ("history", {"metadata": 7}, 422, "metadata"),
    ("history", {"limit": 1001}, 422, "limit"),
    ("history", {"limit": 1.5}, 422, "limit"),
    ("runs", {"assistant_id": "tale", "checkpoint": {"checkpoint_map": []}}, 422, "checkpoint_map"),
    ("runs", {"assistant_id": "tale", "checkpoint": {"checkpoint_ns": 7}}, 422, "checkpoint_ns"),
]


@pytest.mark.parametrize(("path", "body", "code", "named"), BAD)
async def test_what_cannot_be_is_refused_by_name(
    story: MakeStory, http: httpx.AsyncClient, path: str, body: Any, code: int, named: str
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
