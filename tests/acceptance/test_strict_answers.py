"""Answers that must be to what is asked (`strict_resume`; contract semantics.md 5)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from bedplate.testing.eventually import eventually
from bedplate.testing.protocol import command, history

PATIENCE_S = 30
NOBODY = "f" * 32
CASES: list[tuple[Any, str, list[str]]] = [
    ({NOBODY: 1}, "not_pending", [NOBODY]),
    ({}, "empty_map", []),
    ("yes", "ambiguous", []),
]


@pytest.mark.parametrize(("resume", "reason", "unknown"), CASES)
async def test_a_strict_answer_to_what_nobody_asked_fails_and_can_be_mended(
    talk: Any, resume: Any, reason: str, unknown: list[str]
) -> None:
    it = talk("two_approvals")
    assert (await it.http.get("/info")).json()["flags"]["strict_resume"] is True
    await it.begin({"answers": {}})
    asked = await it.pending()
    why = {"reason": reason, "interrupt_ids": unknown, "pending_ids": sorted(asked.values())}
    told = await it.answer(resume, strict_resume=True)
    error = told["__error__"]
    assert (error["error"], {key: error[key] for key in why}) == ("UnknownInterruptError", why)
    assert (await it.status(), await it.pending()) == ("error", asked)
    # Over the protocol the same is told, and the questions can be answered.
    failed = (await history(it.http, it.thread_id, runs=2, channels=["lifecycle"]))[-1]
    data = failed["params"]["data"]
    assert (data["event"], {key: data[key] for key in why}) == ("failed", why)
    left = {"interrupt_id": asked["left?"], "response": 1}
    answer = await command(it.http, it.thread_id, "input.respond", **left)
    assert answer["type"] == "success", answer
    await history(it.http, it.thread_id, runs=3, channels=["lifecycle"])
    assert set(await it.pending()) == {"right?"}
    done = await it.answer({asked["right?"]: 2}, strict_resume=True)
    assert done["answers"] == {"left": 1, "right": 2}


async def test_without_being_asked_for_an_answer_to_nobody_is_ignored(talk: Any) -> None:
    it = talk("approval")
    await it.begin({"question": "q"})
    # A client may not set the library's own switch.
    it.config = {"configurable": {"__pregel_strict_resume": True}}
    assert "__interrupt__" in await it.answer({NOBODY: 1})
    assert "__interrupt__" in await it.answer({NOBODY: 1}, strict_resume=False)


async def test_a_strict_bare_answer_goes_on_from_a_breakpoint(talk: Any) -> None:
    it = talk("tale")
    await it.begin({"title": "t"}, interrupt_before=["second"])
    done = await it.answer("go on", strict_resume=True)
    assert done["log"] == ["first", "second", "third"]


async def test_an_answer_that_was_given_is_not_refused_to_the_next_attempt(
    talk: Any, journal: Any, rows: Any, tmp_path: Path
) -> None:
    """The worker dies when one of two answers has done its work, and so is asked for no more."""
    it, gate = talk("answered_both"), tmp_path / "gate"
    await it.begin({"journal": journal.path, "hold_at": "slow", "gate": str(gate)})
    asked = await it.pending()
    resume = {asked["quick?"]: 1, asked["slow?"]: 2}
    run = await it.client.runs.create(
        it.thread_id, it.graph, command={"resume": resume}, strict_resume=True
    )
    await eventually(lambda: "slow" in journal.firsts(), within_s=PATIENCE_S)
    given = "SELECT count(*) FROM checkpoint_undo WHERE run_id = $1"
    await eventually(lambda: rows.fetchval(given, run["run_id"]), within_s=PATIENCE_S)
    os.kill(journal.pids()[-1], signal.SIGKILL)
    await eventually(lambda: journal.firsts().count("slow"), equals=2, within_s=PATIENCE_S)
    gate.touch()
    done: Any = await it.client.runs.join(it.thread_id, run["run_id"])
    assert done["log"] == ["quick 1", "slow 2"]
    attempt = "SELECT attempt FROM runs WHERE run_id = $1"
    assert await rows.fetchval(attempt, UUID(run["run_id"])) == 2


async def test_a_strict_answer_that_never_came_to_its_node_is_still_checked(
    talk: Any, rows: Any
) -> None:
    """An attempt before this one died without having written anything."""
    it = talk("approval")
    await it.begin({"question": "q"})
    run = await it.client.runs.create(
        it.thread_id,
        it.graph,
        command={"resume": {NOBODY: 1}},
        strict_resume=True,
        after_seconds=3600,
    )
    await rows.execute(
        "UPDATE runs SET attempt = 1, failures = 1, created_at = now() WHERE run_id = $1",
        UUID(run["run_id"]),
    )
    told: Any = await it.client.runs.join(it.thread_id, run["run_id"])
    assert told["__error__"]["reason"] == "not_pending"
