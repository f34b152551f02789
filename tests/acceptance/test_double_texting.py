"""A user who types again: each strategy against a thread in each state, with the unmodified SDK.

What is left is exact: the statuses of the runs and of the thread, and the history.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from bedplate.testing.eventually import eventually

PATIENCE_S = 30.0
# One step, whatever the thread's state says.
AGAIN = {"count": 0, "steps": 1, "gate": ""}
STATES = ["pending", "delayed", "running", "waiting", "finished"]


class Earlier:
    """A thread with a run in some state, and what it was before that run."""

    def __init__(self, client: LangGraphClient, folder: Path) -> None:
        self.client = client
        self.journal = folder / "journal"
        self.gate = folder / "gate"
        self.thread_id = ""
        self.run_id = ""
        self.head_id: str | None = None
        self.before: list[Any] = []

    async def begin(self, state: str) -> None:
        client = self.client
        self.thread_id = (await client.threads.create())["thread_id"]
        await client.runs.wait(self.thread_id, "steps", input={"steps": 1})
        self.before = await self.history()
        if state == "pending":
            head = await self._gated()
            self.head_id = head["run_id"]
            run: Any = await client.runs.create(self.thread_id, "steps", input={"steps": 2})
        elif state == "delayed":
            run = await client.runs.create(
                self.thread_id, "steps", input={"steps": 2}, after_seconds=3600
            )
        elif state == "running":
            run = await self._gated()
        elif state == "waiting":
            run = await client.runs.create(self.thread_id, "approval", input={"question": "q"})
            await client.runs.join(self.thread_id, run["run_id"])
        else:
            run = await client.runs.create(self.thread_id, "steps", input={"steps": 2})
            await client.runs.join(self.thread_id, run["run_id"])
        self.run_id = run["run_id"]

    async def _gated(self) -> Any:
        """A run in its third step (the thread's fourth), for as long as the gate is closed."""
        given = {
            "steps": 9,
            "count": 0,
            "gate_at": 3,
            "gate": str(self.gate),
            "journal": str(self.journal),
        }
        run = await self.client.runs.create(self.thread_id, "steps", input=given)

        def is_in_step_3() -> bool:
            return self.journal.exists() and "3 " in self.journal.read_text()

        await eventually(is_in_step_3, within_s=PATIENCE_S)
        return run

    async def history(self) -> list[Any]:
        return await self.client.threads.get_history(self.thread_id, limit=100)

    async def status(self, run_id: str | None = None) -> str | None:
        try:
            run = await self.client.runs.get(self.thread_id, run_id or self.run_id)
        except NotFoundError:
            return None
        return run["status"]

    async def thread(self) -> Any:
        return await self.client.threads.get(self.thread_id)

    async def again(self, strategy: Any) -> Any:
        """The new run's values."""
        self.new: Any = await self.client.runs.create(
            self.thread_id, "steps", input=AGAIN, multitask_strategy=strategy
        )
        return await self.client.runs.join(self.thread_id, self.new["run_id"])


@pytest.fixture
async def earlier(client: LangGraphClient, tmp_path: Path) -> Any:
    return Earlier(client, tmp_path)


def ids(history: list[Any]) -> list[str]:
    return [row["checkpoint"]["checkpoint_id"] for row in history]


@pytest.mark.parametrize("state", STATES)
async def test_enqueue_leaves_the_earlier_run_alone(earlier: Earlier, state: str) -> None:
    await earlier.begin(state)
    new = await earlier.client.runs.create(earlier.thread_id, "noop", input={"value": 7})
    if state in ("pending", "running"):
        assert await earlier.status(new["run_id"]) == "pending"
        earlier.gate.touch()
    values: Any = await earlier.client.runs.join(earlier.thread_id, new["run_id"])
    assert values["value"] == 7
    assert await earlier.status() == ("pending" if state == "delayed" else "success")
    # A delayed run does not hold up those that are due.
    assert (await earlier.thread())["status"] == ("busy" if state == "delayed" else "idle")


@pytest.mark.parametrize("state", STATES)
async def test_reject_refuses_only_a_busy_thread(earlier: Earlier, state: str) -> None:
    await earlier.begin(state)
    runs = await earlier.client.runs.list(earlier.thread_id)
    if state in ("waiting", "finished"):
        assert (await earlier.again("reject"))["count"] == 1
        return
    with pytest.raises(ConflictError, match="already running a task"):
        await earlier.again("reject")
    assert len(await earlier.client.runs.list(earlier.thread_id)) == len(runs)
    assert await earlier.status() == ("running" if state == "running" else "pending")


@pytest.mark.parametrize("state", STATES)
async def test_interrupt_keeps_what_the_stopped_run_had_saved(earlier: Earlier, state: str) -> None:
    await earlier.begin(state)
    values = await earlier.again("interrupt")
    was_over = state in ("waiting", "finished")
    assert await earlier.status() == ("success" if was_over else "interrupted")
    thread = await earlier.thread()
    assert (thread["status"], thread["interrupts"], thread["error"]) == ("idle", {}, None)
    history = await earlier.history()
    assert set(ids(earlier.before)) < set(ids(history))
    if earlier.head_id is not None:
        assert await earlier.status(earlier.head_id) == "interrupted"
    if state in ("pending", "running"):
        stopped = [
            row for row in history
            if row["metadata"]["run_id"] == (earlier.head_id or earlier.run_id)
        ]  # fmt: skip
        # Its input and its two finished steps; no result of the one that was cut off.
        assert [row["values"].get("count") for row in stopped][:2] == [2, 1]
        assert values["log"] == [1, 1, 2, 1]
    if state in ("pending", "delayed"):
        assert all(row["metadata"]["run_id"] != earlier.run_id for row in history)


@pytest.mark.parametrize("state", STATES)
async def test_rollback_leaves_no_trace_of_the_earlier_runs(earlier: Earlier, state: str) -> None:
    await earlier.begin(state)
    values = await earlier.again("rollback")
    assert values["log"] == ([1, 2, 1] if state == "finished" else [1, 1])
    was_over = state in ("waiting", "finished")
    assert await earlier.status() == ("success" if was_over else None)
    thread = await earlier.thread()
    assert (thread["status"], thread["interrupts"], thread["error"]) == ("idle", {}, None)
    if was_over:
        return
    history = await earlier.history()
    mine = [row for row in history if row["metadata"]["run_id"] == earlier.new["run_id"]]
    rest = [row for row in history if row not in mine]
    assert ids(rest) == ids(earlier.before)
    assert [row["values"] for row in rest] == [row["values"] for row in earlier.before]
    if earlier.head_id is not None:
        assert await earlier.status(earlier.head_id) is None


async def test_a_run_that_had_answered_is_taken_back_to_the_question(
    client: LangGraphClient,
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "two_approvals", input={"answers": {}})
    before: Any = await client.threads.get_state(thread_id)
    [left, right] = [question["id"] for question in before["interrupts"]]
    answered = await client.runs.create(
        thread_id, "two_approvals", command={"resume": {left: "yes"}}
    )
    await client.runs.join(thread_id, answered["run_id"])
    assert len((await _state(client, thread_id))["interrupts"]) == 1
    await client.runs.delete(thread_id, answered["run_id"])
    after = await _state(client, thread_id)
    assert after["interrupts"] == before["interrupts"]
    values: Any = await client.runs.wait(
        thread_id, "two_approvals", command={"resume": {left: "no", right: "no"}}
    )
    assert set(values["answers"].values()) == {"no"}


async def _state(client: LangGraphClient, thread_id: str) -> Any:
    return await client.threads.get_state(thread_id)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_of_a_burst_the_last_one_is_answered(
    earlier: Earlier, client: LangGraphClient, strategy: Any
) -> None:
    await earlier.begin("running")
    burst = [
        await client.runs.create(
            earlier.thread_id, graph, input={"value": graph}, multitask_strategy=strategy
        )
        for graph in ["sleeps"] * 7 + ["noop"]
    ]
    values: Any = await client.runs.join(earlier.thread_id, burst[-1]["run_id"])
    assert values["value"] == "noop"
    statuses = [await earlier.status(run["run_id"]) for run in burst]
    assert statuses == [None if strategy == "rollback" else "interrupted"] * 7 + ["success"]


async def test_a_reader_of_a_displaced_run_sees_its_end(
    earlier: Earlier, client: LangGraphClient
) -> None:
    await earlier.begin("running")

    async def read() -> list[str]:
        stream = client.runs.join_stream(earlier.thread_id, earlier.run_id, stream_mode="values")
        return [part.event async for part in stream]

    reading = asyncio.create_task(read())
    await earlier.again("interrupt")
    async with asyncio.timeout(PATIENCE_S):
        assert "error" not in await reading


async def test_many_are_cancelled_by_id_and_by_state(
    earlier: Earlier, client: LangGraphClient
) -> None:
    await earlier.begin("pending")
    assert earlier.head_id is not None
    both = [earlier.head_id, earlier.run_id]
    await client.runs.cancel_many(thread_id=earlier.thread_id, run_ids=both)
    for run_id in both:
        await eventually(
            lambda run_id=run_id: earlier.status(run_id), equals="interrupted", within_s=PATIENCE_S
        )
    with pytest.raises(NotFoundError):
        await client.runs.cancel_many(thread_id=earlier.thread_id, run_ids=both)
    await earlier.begin("delayed")
    await client.runs.cancel_many(status="all", action="rollback")
    await eventually(earlier.status, equals=None, within_s=PATIENCE_S)
    assert (await earlier.thread())["status"] == "idle"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "status"),
        ({"status": "done"}, "status"),
        ({"status": "all", "run_ids": ["x"]}, "run_ids"),
        ({"thread_id": "x", "run_ids": []}, "thread_id"),
        ({"run_ids": []}, "run_ids"),
    ],
)
async def test_a_cancel_of_many_says_what_it_cannot_mean(
    http: httpx.AsyncClient, body: Any, problem: str
) -> None:
    answer = await http.post("/runs/cancel", json=body)
    assert answer.status_code == 422 and problem in answer.json()["detail"]


async def test_a_batch_is_created_in_order_or_not_at_all(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    payloads: Any = [
        {"assistant_id": "noop", "input": {"value": n}, "on_completion": "keep"} for n in range(5)
    ]
    runs = await client.runs.create_batch(payloads)
    values: list[Any] = [await client.runs.join(run["thread_id"], run["run_id"]) for run in runs]
    assert [one["value"] for one in values] == list(range(5))
    bad: Any = [*payloads, {"assistant_id": "nobody"}]
    with pytest.raises((NotFoundError, UnprocessableEntityError)):
        await client.runs.create_batch(bad)
    assert (await http.post("/runs/batch", json=[])).status_code == 422
    assert (await http.post("/runs/batch", json={})).status_code == 422
