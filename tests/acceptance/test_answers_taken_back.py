"""A run that had answered a question is rolled back while it goes on: it has never been, and what
it had answered is asked again (contract semantics.md 3 and 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.errors import NotFoundError

from bedplate.testing.eventually import eventually

PATIENCE_S = 30
DONE = ["begin", "told again", "one", "two"]


class Held:
    """A thread whose run is held in a node after its answer, and what it was before that run."""

    def __init__(self, it: Any, journal: Any, gate: Path) -> None:
        self.it, self.journal, self.gate = it, journal, gate
        self.run_id = ""
        self.asked: dict[str, str] = {}
        self.before: list[Any] = []

    async def begin(self, hold_at: str, **more: Any) -> None:
        it = self.it
        it.config = {"configurable": {"gate": str(self.gate)}}
        await it.begin({"journal": self.journal.path, "hold_at": hold_at})
        self.asked, self.before = await it.pending(), await self.history()
        run = await it.client.runs.create(
            it.thread_id, it.graph, command={"resume": "yes"}, config=it.config, **more
        )
        self.run_id = run["run_id"]
        await eventually(lambda: hold_at in self.journal.firsts(), within_s=PATIENCE_S)

    async def history(self) -> list[Any]:
        return await self.it.client.threads.get_history(self.it.thread_id, limit=100)

    async def is_gone(self) -> bool:
        try:
            await self.it.client.runs.get(self.it.thread_id, self.run_id)
        except NotFoundError:
            return True
        return False

    async def has_never_been(self) -> None:
        it = self.it
        await eventually(self.is_gone, within_s=PATIENCE_S)
        assert await self.history() == self.before
        assert (await it.status(), await it.pending()) == ("interrupted", self.asked)
        assert len(await it.client.runs.list(it.thread_id)) == 1
        self.gate.touch()
        assert (await it.answer("again"))["log"] == DONE


@pytest.fixture
def held(talk: Any, journal: Any, tmp_path: Path) -> Any:
    return lambda graph: Held(talk(graph), journal, tmp_path / "gate")


GRAPHS = pytest.mark.parametrize("graph", ["answered", "answered_delta"])


@GRAPHS
@pytest.mark.parametrize(
    ("how", "hold_at", "durability"),
    [("cancel", "ask", "async"), ("cancel", "two", "async"), ("delete", "two", "sync")],
)
async def test_a_question_is_open_again_when_its_answer_is_taken_back(
    held: Any, graph: str, how: str, hold_at: str, durability: str
) -> None:
    thread = held(graph)
    await thread.begin(hold_at, durability=durability)
    runs, place = thread.it.client.runs, (thread.it.thread_id, thread.run_id)
    if how == "cancel":
        await runs.cancel(*place, action="rollback", wait=True)
    else:
        await runs.delete(*place)
    await thread.has_never_been()


@GRAPHS
@pytest.mark.parametrize("hold_at", ["ask", "two"])
async def test_another_answer_takes_the_place_of_the_one_it_rolls_back(
    held: Any, graph: str, hold_at: str
) -> None:
    thread = held(graph)
    await thread.begin(hold_at)
    it = thread.it
    new = await it.client.runs.create(
        it.thread_id,
        it.graph,
        command={"resume": "again"},
        config=it.config,
        multitask_strategy="rollback",
    )
    await eventually(thread.is_gone, within_s=PATIENCE_S)
    thread.gate.touch()
    done: Any = await it.client.runs.join(it.thread_id, new["run_id"])
    assert (done["log"], await it.status(), await it.pending()) == (DONE, "idle", {})
    history = await thread.history()
    assert [row["metadata"]["run_id"] for row in history].count(thread.run_id) == 0
    assert history[-len(thread.before) :][1:] == thread.before[1:]


async def test_of_several_questions_those_are_open_again_that_were_answered(
    talk: Any, journal: Any, tmp_path: Path
) -> None:
    """One was answered by an earlier run, whose answer stays."""
    it = talk("branches")
    it.config = {"configurable": {"journal": journal.path}}
    await it.begin({"answers": {}})
    every = await it.pending()
    await it.answer({every["east?"]: "E"})
    left = await it.pending()
    gone = await it.client.runs.create(
        it.thread_id, it.graph, command={"resume": "W"}, config=it.config
    )
    await it.client.runs.join(it.thread_id, gone["run_id"])
    await it.client.runs.delete(it.thread_id, gone["run_id"])
    assert (await it.status(), await it.pending()) == ("interrupted", left)
    done = await it.answer("again")
    assert done["answers"] == {"east": "E", "west": "again", "calm": True}
    assert journal.firsts().count("calm") == 1
