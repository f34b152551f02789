"""Code of a run that does not stop when its run is: the run is over, and its worker is recycled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bedplate.testing.eventually import eventually

PATIENCE_S = 60.0
FOREVER_S = 3600
RECYCLE_S = 6.0
OF_THE_FIRST_RUN = "journal-1"
CODE = pytest.mark.parametrize(("graph", "word"), [("stubborn", "stubborn"), ("grinds", "grinds")])


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {
        "env": {
            "BEDPLATE_EXECUTOR_CANCEL_S": "0.5",
            "BEDPLATE_EXECUTOR_RECYCLE_S": str(RECYCLE_S),
            "BEDPLATE_EXECUTOR_DRAIN_S": "1",
        }
    }


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def pid_of_a_new_run(api: Any) -> int:
    run = await api.start("steps", {"steps": 1})
    assert await run.ended() == "success"
    return run.journal.last_pid()


async def other_than(api: Any, pid: int) -> None:
    """Returns when new runs go to another worker."""
    await eventually(
        lambda: pid_of_a_new_run(api), satisfies=lambda new: new != pid, within_s=PATIENCE_S
    )


async def stopped(api: Any, graph: str, word: str, **options: Any) -> int:
    """The worker in which code of a run goes on that was cancelled."""
    run = await api.start(graph, {"seconds": FOREVER_S}, **options)
    await run.journal.has(word)
    await api.client.runs.cancel(run.thread_id, run.run_id)
    assert await run.ended(10) == "interrupted"
    return run.journal.last_pid()


@CODE
async def test_code_that_does_not_stop_costs_its_worker(
    api: Any, served: Any, graph: str, word: str
) -> None:
    pid = await stopped(api, graph, word)
    await eventually(lambda: is_gone(pid), within_s=PATIENCE_S)
    await other_than(api, pid)
    served()


@CODE
async def test_the_other_runs_of_such_a_worker_end_where_they_are(
    api: Any, graph: str, word: str
) -> None:
    other = await api.start("steps", {"steps": 4}, gate_at=2)
    await other.journal.has("2")
    pid = await stopped(api, graph, word)
    assert other.journal.last_pid() == pid, "there is one worker"
    other.gate.touch()
    assert await other.ended() == "success"
    assert {int(line[1]) for line in other.journal.lines()} == {pid}
    assert (await other.row())["attempt"] == 1
    await other_than(api, pid)
    await eventually(lambda: is_gone(pid), within_s=PATIENCE_S)


async def test_what_does_not_end_in_time_is_handed_over_and_costs_no_failure(api: Any) -> None:
    """One that comes to a super-step, and one that does not."""
    held = await api.start("steps", {"steps": 4}, gate_at=3)
    await held.journal.has("3")
    moving = await api.start("steps", {"steps": 200, "pause_s": 0.05})
    await moving.journal.has("2")
    pid = await stopped(api, "grinds", "grinds")
    await eventually(lambda: is_gone(pid), within_s=PATIENCE_S)
    held.gate.touch()
    assert await held.ended() == "success"
    assert await moving.ended() == "success"
    for run, steps in ((held, 4), (moving, 200)):
        row = await run.row()
        assert (row["attempt"], row["failures"]) == (2, 0)
        assert (await run.values())["log"] == list(range(1, steps + 1))
        assert run.journal.last_pid() != pid
    assert moving.journal.firsts() == [str(n) for n in range(1, 201)], "no step was done twice"


async def test_a_factory_that_does_not_stop_costs_its_worker_and_not_the_end_of_its_run(
    api: Any, tmp_path: Path
) -> None:
    """At its beginning, and at its end, when the graph's work is done."""
    given = {"journal": str(tmp_path / OF_THE_FIRST_RUN)}
    begun, done = [
        await api.start("factory_refuses", {}, config={"configurable": {**given, "refuses": where}})
        for where in ("beginning", "end")
    ]
    journal = begun.journal
    await eventually(lambda: journal.firsts().count("refuses"), equals=2, within_s=PATIENCE_S)
    pid = journal.last_pid()
    for run in (begun, done):
        await api.client.runs.cancel(run.thread_id, run.run_id)
    assert (await begun.ended(10), await done.ended(10)) == ("interrupted", "success")
    assert "ignored" in journal.firsts()
    await eventually(lambda: is_gone(pid), within_s=PATIENCE_S)
    await other_than(api, pid)


async def test_a_factory_opens_and_closes_in_one_task_and_its_context_is_the_graphs(
    api: Any, tmp_path: Path
) -> None:
    given = {"journal": str(tmp_path / OF_THE_FIRST_RUN)}
    run = await api.start("factory_refuses", {}, config={"configurable": given})
    assert await run.ended() == "success"
    assert (await run.values())["value"] == "by the graph"
    assert run.journal.firsts() == ["same"]


async def test_code_that_ends_soon_after_its_run_costs_nothing(api: Any) -> None:
    run = await api.start("grinds", {"seconds": 0.3})
    await run.journal.has("grinds")
    pid = run.journal.last_pid()
    await api.client.runs.cancel(run.thread_id, run.run_id)
    assert await run.ended(10) == "interrupted"
    await run.journal.has("ground")
    assert await pid_of_a_new_run(api) == pid
