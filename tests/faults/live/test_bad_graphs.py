"""Whatever a graph does, its run gets an answer, no service dies, and other runs go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bedplate.testing.eventually import eventually

MIB = 1024 * 1024
LOST = {
    "error": "WorkerLost",
    "message": "exceeded max attempts: the process that executed the run died each time",
}
# An exception's text is shown only where it is meant for the caller.
INTERNAL = "An internal error occurred"
BAD: list[Any] = [
    pytest.param(
        "raises", {}, {"error": "ValueError", "message": "this graph raises"}, 1, id="raises"
    ),
    pytest.param(
        "raises", {"kind": "unprintable"}, {"error": "Unprintable", "message": INTERNAL}, 1,
        id="unprintable",
    ),
    pytest.param(
        "raises", {"kind": "base"}, {"error": "Severe", "message": INTERNAL}, 1, id="base"
    ),
    pytest.param(
        "raises", {"kind": "nul", "message": "a"},
        {"error": "ValueError", "message": "a\ufffdafter a NUL"}, 1,
        id="nul",
    ),
    pytest.param("unserialisable", {"where": "state"}, {"error": "Unserialisable"}, 1, id="state"),
    pytest.param(
        "eats_memory", {"bytes": 2048 * MIB}, {"error": "MemoryError", "message": INTERNAL}, 1,
        id="memory",
    ),
    pytest.param(
        "exits", {"how": "exit"}, {"error": "SystemExit", "message": INTERNAL}, 1, id="sys-exit"
    ),
    pytest.param("exits", {"how": "_exit", "code": 0}, LOST, 3, id="exit-0"),
    pytest.param("exits", {"how": "segfault"}, LOST, 3, id="segfault"),
    pytest.param("blocks", {"seconds": 60}, LOST, 3, id="blocks"),
]  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {
        "env": {
            "BEDPLATE_EXECUTOR_STALL_REPORT_S": "0.8",
            "BEDPLATE_EXECUTOR_STALL_KILL_S": "2",
            "BEDPLATE_EXECUTOR_WORKER_MEMORY_BYTES_MAX": str(1024 * MIB),
        }
    }


@pytest.mark.parametrize(("graph", "given", "error", "attempts"), BAD)
async def test_a_bad_graph_gets_its_answer_and_harms_nobody(
    api: Any,
    served: Callable[[], None],
    graph: str,
    given: dict[str, Any],
    error: dict[str, str],
    attempts: int,
) -> None:
    innocent = await api.start("steps", gate_at=5)
    await innocent.journal.has("5")
    bad = await api.start(graph, given, stream_resumable=True)
    assert await bad.ended() == "error"

    # The run, whoever waits, whoever streams, and the thread say the same.
    assert (await bad.values())["__error__"].items() >= error.items()
    thread = await bad.thread()
    assert thread["status"] == "error" and thread["error"].items() >= error.items()
    streamed = [
        (part.event, part.data)
        async for part in api.client.runs.join_stream(bad.thread_id, bad.run_id, last_event_id="-1")
    ]
    assert streamed[-1][0] == "error" and streamed[-1][1].items() >= error.items()
    told = [data["attempt"] for event, data in streamed if event == "metadata"]
    assert told == list(range(1, attempts + 1))
    assert [event.name for event in await bad.events()][-2:] == ["error", "end"]

    innocent.gate.touch()
    assert await innocent.ended() == "success"
    assert (await innocent.values())["log"] == list(range(1, 21))
    assert await api.client.runs.wait(None, "noop", input={"value": 1}) == {"value": 1}
    served()


async def test_what_no_json_can_say_is_streamed_as_text(api: Any) -> None:
    run = await api.start("unserialisable", {"where": "stream"}, stream_mode=["custom"])
    assert await run.ended() == "success"
    [custom] = [event for event in await run.events() if event.name == "custom"]
    assert b"_thread.lock" in custom.data


async def test_a_run_that_kills_its_worker_ends_alone(api: Any, served: Callable[[], None]) -> None:
    """Five long runs share the one worker with it: they lose time, and nothing else."""
    innocents = [await api.start("steps", gate_at=5, durability="sync") for _ in range(5)]
    for run in innocents:
        await run.journal.has("5")
    killer = await api.start("exits")
    assert await killer.ended() == "error"
    assert await killer.row() == {"status": "error", "attempt": 3, "failures": 3}
    assert (await killer.values())["__error__"] == LOST
    newcomer = await api.client.runs.wait(None, "noop", input={"value": 1})
    assert newcomer == {"value": 1}
    for run in innocents:
        assert await run.status() in ("pending", "running")
        run.gate.touch()
    for run in innocents:
        assert await run.ended(60) == "success"
        assert (await run.values())["log"] == list(range(1, 21))
        steps = run.journal.firsts()
        assert [step for step in steps if step != "5"] == [str(n) for n in range(1, 21) if n != 5]
    served()


async def test_runs_that_died_together_go_on_together(api: Any) -> None:
    """A worker that is killed from outside is nobody's fault: nobody waits for anybody."""
    runs = [await api.start("steps", gate_at=5) for _ in range(5)]
    for run in runs:
        await run.journal.has("5")
    killer = await api.start("exits", {"how": "kill", "once": str(runs[0].gate) + ".once"})
    for run in runs:
        await eventually(lambda run=run: run.journal.firsts().count("5"), equals=2, within_s=10)
    for run in runs:
        run.gate.touch()
    assert [await run.ended() for run in runs] == ["success"] * 5
    assert await killer.ended() == "success"
