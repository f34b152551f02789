"""Back to an earlier state, and on from there (contract semantics.md 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bedplate.testing.talks import place, script

STORY = ["first", "second", "third"]
UNKNOWN = "1f0c0000-0000-6000-8000-000000000000"


# -- history


async def test_a_past_of_several_runs_is_one_line_of_steps(story: Any) -> None:
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


async def test_history_is_found_by_metadata_and_read_in_pages(story: Any) -> None:
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
    assert await it.ids(metadata={"kind": {"a": 1, "b": 2}, "step": 3}) == every[4:5]
    assert await it.ids(metadata={"kind": {"a": 1}}) == [], "equal, not contained"
    assert await it.ids(metadata={"chapter": 2}, before=every[7]) == every[5:7]
    assert await it.ids(before=every[0]) == []


async def test_a_subgraph_has_a_history_of_its_own(story: Any) -> None:
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


async def test_a_waiting_subgraph_can_be_edited_from_outside(story: Any) -> None:
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
    story: Any, journal: Any
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


async def test_input_is_applied_where_the_run_begins(story: Any) -> None:
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
async def test_a_run_names_its_beginning_in_three_ways(story: Any, spelling: str) -> None:
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


async def test_an_unknown_checkpoint_is_an_empty_state(story: Any) -> None:
    it = story()
    await it.run({"title": "t"})
    state = await it.state(checkpoint_id=UNKNOWN)
    assert (state["values"], list(state["next"]), state["tasks"]) == ({}, [], [])
    told = await it.run(checkpoint_id=UNKNOWN)
    assert told["__error__"]["error"] == "EmptyInputError"
    done = await it.run({"title": "fresh"}, checkpoint_id=UNKNOWN)
    assert done == {"title": "fresh", "log": STORY}
    await it.shows_its_newest_state()


async def test_an_answered_question_is_asked_again_in_the_past(story: Any) -> None:
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


async def test_an_answered_question_keeps_its_answer_until_it_is_asked_again(story: Any) -> None:
    it = story("approval")
    await it.run({"question": "q"})
    asked = await it.state()
    assert (await it.run(command={"resume": "a"}))["answer"] == "a"
    # As the library has it: an answer given to where one was given already changes nothing.
    assert (await it.run(command={"resume": "b"}, checkpoint=asked["checkpoint"]))["answer"] == "a"
    await it.run(checkpoint=asked["checkpoint"])
    assert (await it.run(command={"resume": "b"}))["answer"] == "b"
    assert {s["values"].get("answer") for s in await it.states()} == {None, "a", "b"}


# -- edits


async def test_an_edit_of_the_past_begins_a_branch(story: Any) -> None:
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
    story: Any, as_node: str, following: list[str]
) -> None:
    it = story()
    await it.run({"title": "t"})
    await it.edit({"title": "edited"}, as_node=as_node)
    assert list((await it.state())["next"]) == following
    await it.shows_its_newest_state()
    if following:
        done = await it.run()
        assert done["log"] == STORY + STORY[STORY.index(following[0]) :]


async def test_an_edit_without_values_moves_on_and_the_end_ends(story: Any) -> None:
    it = story()
    await it.run({"title": "t"}, interrupt_before=["second"])
    await it.edit(None, as_node="second")
    state = await it.state()
    assert (state["values"]["log"], list(state["next"])) == (["first"], ["third"])
    await it.edit(None, as_node="__end__")
    assert list((await it.state())["next"]) == []
    await it.shows_its_newest_state()
    assert (await it.state())["values"]["log"] == ["first"]


async def test_an_edit_without_anything_is_a_branch_as_it_was(story: Any) -> None:
    it = story()
    await it.run({"title": "t"})
    past = await it.at(1)
    await it.edit(None, checkpoint_id=place(past))
    state = await it.state()
    assert (state["values"], list(state["next"])) == (past["values"], ["second"])
    await it.shows_its_newest_state()
    assert (await it.run())["log"] == STORY


async def test_the_end_drops_what_was_asked_also_of_an_agent(story: Any) -> None:
    it = story("reviewed")
    await it.run(script({"tool_calls": [{"name": "pay", "args": {"amount": 1}}]}))
    assert (await it.row())["interrupts"]
    await it.edit(None, as_node="__end__")
    row = await it.row()
    assert (row["status"], row["interrupts"]) == ("idle", {})
    assert (await it.state())["interrupts"] == []


async def test_an_edit_may_be_a_list_of_values(story: Any) -> None:
    it = story()
    await it.run({"title": "t"})
    steps = len(await it.states())
    await it.edit([{"log": ["a"]}, {"log": ["b"], "title": "u"}], as_node="second")
    state = await it.state()
    assert state["values"] == {"log": [*STORY, "a", "b"], "title": "u"}
    assert (list(state["next"]), len(await it.states())) == (["third"], steps + 1)
    await it.edit([])
    assert (await it.state())["values"] == state["values"]


async def test_an_edit_keeps_what_else_is_asked(story: Any) -> None:
    it = story("two_approvals")
    await it.run({"answers": {}})
    await it.edit({"answers": {"left": "by hand"}}, as_node="left")
    row, state = await it.row(), await it.state()
    by_task = {t["id"]: t["interrupts"] for t in state["tasks"] if t["interrupts"]}
    assert row["interrupts"] == by_task
    await it.shows_its_newest_state()


# -- a step that failed


async def test_only_the_failed_step_is_done_again(story: Any, journal: Any, tmp_path: Path) -> None:
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


async def test_an_edit_of_a_failed_step_is_all_there_is_of_it(
    story: Any, journal: Any, tmp_path: Path
) -> None:
    """As the library has it: an edit is a step of its own, to which nothing of the one that failed
    belongs, and `next` follows from it."""
    it = story("siblings")
    await it.run({"journal": journal.path, "gate": str(tmp_path / "gate")})
    await it.edit({"log": ["by hand"]}, as_node="fragile")
    row, state = await it.row(), await it.state()
    assert (row["status"], row["error"], state["next"]) == ("idle", None, [])
    assert state["values"]["log"] == ["by hand"]
    (failed,) = (await it.states())[-2:-1]
    results = {task["name"]: task["result"] for task in failed["tasks"]}
    assert results["steady"] == {"log": ["steady"]}, "what was done stays in the past"
