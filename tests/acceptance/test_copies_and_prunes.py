"""Copies of threads and what is left of a pruned one, also where messages are told by differences
(contract endpoints.md 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError

from bedplate.testing.eventually import eventually
from bedplate.testing.talks import place, script, texts

PATIENCE_S = 30


def notes(*steps: int) -> dict[str, Any]:
    turns = [{"tool_calls": [{"name": "note", "args": {"step": step}}]} for step in steps]
    return script(*turns, {"text": f"noted {steps[-1]}"})


async def test_a_deep_agents_thread_is_copied_with_its_past(story: Any, journal: Any) -> None:
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


async def test_a_deep_agents_past_can_be_gone_back_to_everywhere(story: Any, journal: Any) -> None:
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


async def test_a_pruned_deep_agent_goes_on_with_all_it_knew(story: Any, journal: Any) -> None:
    it = story("agent")
    it.config = {"configurable": {"journal": journal.path}}
    await it.run(notes(1, 2))
    await it.run(notes(3))
    before, row = await it.state(), await it.row()
    pruned = await it.client.threads.prune([it.thread_id], strategy="keep_latest")
    assert pruned == {"pruned_count": 1}
    (left,) = await it.states()
    assert left["values"] == before["values"] and place(left) == place(before)
    # Its messages still stand on what was pruned, which is no state any more.
    assert (left["parent_checkpoint"], left["parent_checkpoint_id"]) == (None, None)
    assert (await it.state())["parent_checkpoint"] is None
    assert (await it.row())["values"] == row["values"]
    done = await it.run(notes(4))
    assert [one["content"] for one in done["messages"]][: len(texts(before))] == texts(before)
    assert done["messages"][-1]["content"] == "noted 4"


async def test_a_pruned_thread_keeps_its_question(story: Any) -> None:
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


async def test_of_two_branches_the_newest_is_kept(story: Any) -> None:
    it = story()
    await it.run({"title": "t"})
    await it.edit({"log": ["other"]}, checkpoint_id=place(await it.at(1)))
    kept = await it.state()
    await it.client.threads.prune([it.thread_id], strategy="keep_latest")
    (left,) = await it.states()
    assert (left["values"], left["next"]) == (kept["values"], kept["next"])
    assert (await it.run())["log"] == ["first", "other", "second", "third"]


async def test_a_busy_thread_is_not_pruned_under_its_run(story: Any, tmp_path: Path) -> None:
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


async def test_a_pruned_thread_is_gone_with_its_runs(story: Any) -> None:
    it, other = story(), story()
    await it.run({"title": "t"})
    await other.run({"title": "t"})
    assert await it.client.threads.prune([it.thread_id]) == {"pruned_count": 1}
    with pytest.raises(NotFoundError):
        await it.row()
    with pytest.raises(NotFoundError):
        await it.client.threads.copy(it.thread_id)
    assert len(await other.states()) == 5
