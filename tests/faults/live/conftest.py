"""A whole product to break, per test module: what it kills or starves is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.bus.broker import Bus
from bedplate.bus.event_log import EventLog
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate_proto.subjects import RunAddress

GRAPHS = Path(__file__).parents[2] / "graphs" / "langgraph.json"
PATIENCE_S = 40.0
IN_FLIGHT = ("pending", "running")


class Journal:
    """What the graphs of one run noted, as lists of words."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def lines(self) -> list[list[str]]:
        try:
            return [line.split() for line in Path(self.path).read_text().splitlines()]
        except FileNotFoundError:
            return []

    def firsts(self) -> list[str]:
        return [line[0] for line in self.lines()]

    def last_pid(self) -> int:
        return int(self.lines()[-1][1])

    async def has(self, word: str) -> None:
        """Returns when a line begins with `word`."""
        await eventually(lambda: word in self.firsts(), within_s=PATIENCE_S)


@dataclass
class Run:
    """A run on a thread of its own, with its journal and its gate."""

    api: Api
    thread_id: str
    run_id: str
    journal: Journal
    gate: Path

    async def status(self) -> str:
        return (await self.api.client.runs.get(self.thread_id, self.run_id))["status"]

    async def ended(self, within_s: float = PATIENCE_S) -> str:
        """Its status once it is over."""
        return await eventually(
            self.status, satisfies=lambda status: status not in IN_FLIGHT, within_s=within_s
        )

    async def values(self) -> dict[str, Any]:
        """What a waiting client gets."""
        answer: Any = await self.api.client.runs.join(self.thread_id, self.run_id)
        return answer

    async def row(self) -> dict[str, Any] | None:
        found = await self.api.fetchrow(
            "SELECT status, attempt, failures FROM runs WHERE run_id = $1", UUID(self.run_id)
        )
        return None if found is None else dict(found)

    async def thread(self) -> dict[str, Any]:
        return {**await self.api.client.threads.get(self.thread_id)}

    async def events(self) -> list[Any]:
        """What the broker holds of it."""
        bus = await Bus.connect(self.api.stack.endpoints.nats_url, name="test")
        try:
            address = RunAddress("default", UUID(self.thread_id), UUID(self.run_id))
            async with EventLog(bus).follow(address) as follower:
                return [event async for event in follower.stored()]
        finally:
            await bus.close()


class Api:
    """The SDK, and the database behind it."""

    def __init__(self, stack: Stack, client: LangGraphClient, folder: Path) -> None:
        self.stack = stack
        self.client = client
        self._folder = folder
        self._count = 0

    async def start(
        self,
        graph: str,
        given: dict[str, Any] | None = None,
        *,
        thread_id: str | None = None,
        gate_at: int | None = None,
        **options: Any,
    ) -> Run:
        """Create a run, on a new thread unless told otherwise."""
        self._count += 1
        journal = Journal(self._folder / f"journal-{self._count}")
        gate = self._folder / f"gate-{self._count}"
        work = {"journal": journal.path, **(given or {})}
        if gate_at is not None:
            work |= {"gate": str(gate), "gate_at": gate_at}
        if thread_id is None:
            thread_id = (await self.client.threads.create())["thread_id"]
        run = await self.client.runs.create(thread_id, graph, input=work, **options)
        return Run(self, thread_id, run["run_id"], journal, gate)

    async def again(self, run: Run, **options: Any) -> Run:
        """One more run on the same thread."""
        more = await self.client.runs.create(run.thread_id, **options)
        return Run(self, run.thread_id, more["run_id"], run.journal, run.gate)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        connection = await asyncpg.connect(self.stack.endpoints.database_uri)
        try:
            return await connection.fetchrow(query, *arguments)
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """Arguments of the module's stack; a module may have others."""
    return {}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Iterator[Stack]:
    data_dir = tmp_path_factory.mktemp("stack") / "data"
    given: dict[str, Any] = {"project": GRAPHS, **settings}
    given["env"] = {"LANGSMITH_TRACING": "false", **given.get("env", {})}
    with Stack(data_dir, **given) as running:
        yield running


@pytest.fixture(scope="module")
def make_api() -> Callable[..., Api]:
    """For a stack that a test has started itself."""
    return Api


@pytest.fixture
async def api(stack: Stack, tmp_path: Path) -> AsyncIterator[Api]:
    async with get_client(url=stack.url, api_key=None) as client:
        yield Api(stack, client, tmp_path)


@pytest.fixture
def served(stack: Stack) -> Callable[[], None]:
    """Call it to state that every service answers, none of them restarted since the beginning."""
    before = {name: stack.pids(name)[0] for name in ("gateway", "run-scheduler", "executor")}

    def check() -> None:
        for name, pid in before.items():
            assert stack.pids(name)[0] == pid, f"{name} is the same process"
            ready = httpx.get(f"{stack.ops_url(name)}/readyz", timeout=5)
            assert ready.status_code == 200, ready.text

    return check
