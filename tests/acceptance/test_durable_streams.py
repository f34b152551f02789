"""A client that reads a run's events while its connections and the run's workers are killed."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from typing import Any

import httpx

from bedplate.devstack.stack import Stack
from bedplate.testing.sse import Frame, frames_from


class Sse:
    """A client that reads Server-Sent Events and nothing else."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: list[Frame] = []
        """Everything that came, over all connections."""

    async def read(self, count: int | None, method: str, path: str, **given: Any) -> bool:
        """Read on for `count` events and hang up, or to the end; whether it came to the end."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as http:
            async with http.stream(method, path, **given) as answer:
                assert answer.status_code == 200
                async with aclosing(frames_from(answer)) as frames:
                    until = None if count is None else len(self.seen) + count
                    async for frame in frames:
                        self.seen.append(frame)
                        if len(self.seen) == until:
                            return False
        return True


async def test_a_client_that_reconnects_sees_every_event_once_and_in_order(
    stack: Stack, steps_on: Any
) -> None:
    run = steps_on(stack)
    run.thread_id = (await run.client.threads.create())["thread_id"]
    sse = Sse(stack.url)
    order = {
        "assistant_id": "steps",
        "input": {"steps": 20, "journal": run.journal.path, "pause_s": 0.04},
        "stream_mode": ["values", "updates"],
        "stream_resumable": True,
        "on_disconnect": "continue",
    }
    await sse.read(5, "POST", f"/threads/{run.thread_id}/runs/stream", json=order)
    run.run_id = sse.seen[0].data["run_id"]
    path = f"/threads/{run.thread_id}/runs/{run.run_id}/stream"
    is_over, connections = False, 1
    while not is_over:
        if connections in (2, 4):
            os.kill(run.journal.pids()[-1], signal.SIGKILL)
        headers = {"Last-Event-ID": sse.seen[-1].id or ""}
        is_over = await sse.read(6, "GET", path, headers=headers)
        connections += 1
        assert connections < 40
    assert connections >= 5 and await run.ended() == "success"

    numbers = [int((frame.id or "").partition("-")[0]) for frame in sse.seen]
    assert numbers == list(range(1, len(numbers) + 1)), "every event, once, in order"
    attempts = [data["attempt"] for event, data, _ in sse.seen if event == "metadata"]
    assert attempts == [1, 2, 3]
    assert sse.seen[-1].data["count"] == 20
    for counts in per_attempt(sse.seen):
        assert counts == sorted(set(counts)), "within an attempt no value shows twice"

    again = Sse(stack.url)
    await again.read(None, "GET", path, headers={"Last-Event-ID": "-1"})
    assert again.seen == sse.seen, "one connection sees what many saw"


def per_attempt(seen: list[Frame]) -> list[list[int]]:
    """The counts in the values of each attempt; a new one begins with its `metadata`."""
    found: list[list[int]] = []
    for event, data, _ in seen:
        if event == "metadata":
            found.append([])
        elif event == "values":
            found[-1].append(data.get("count", 0))
    return found
