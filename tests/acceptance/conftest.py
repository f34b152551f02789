"""The whole product as its users have it, once per project: `stack` (tests/graphs) and `desk`
(examples/support-desk), each with an unmodified `langgraph_sdk` client.

Both live for the session. A test may kill what heals by itself (a worker); a test that breaks more
starts a stack of its own with `run_stack`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate.testing.talks import Story, Talk

ROOT = Path(__file__).parents[2]
GRAPHS = ROOT / "tests" / "graphs" / "langgraph.json"
GUARDED = GRAPHS.parent / "guarded" / "langgraph.json"
DESK = ROOT / "examples" / "support-desk"

PATIENCE_S = 30.0

RunStack = Callable[..., Stack]


class ModelServer:
    """The support desk's scripted model as a process of its own: it outlives the workers that tests
    kill, and sees every call."""

    def __init__(self, url: str) -> None:
        self.url = url

    def requests(self, *, user: str = "") -> list[dict[str, Any]]:
        """The calls so far whose user message holds `user`. Equal `digest`s: a repeated call."""
        told = self._asked("GET", "requests")["requests"]
        return [request for request in told if user in request["user"]]

    def hold(self, gate: str) -> None:
        """Answers that wait for `gate` are held back from now on."""
        self._asked("POST", f"gates/{gate}", {"open": False})

    def let_go(self, gate: str) -> None:
        self._asked("POST", f"gates/{gate}", {"open": True})

    def waiting(self, gate: str) -> int:
        """How many answers are held back at `gate`."""
        return self._asked("GET", "gates").get(gate, {}).get("waiting", 0)

    def _asked(self, method: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/__stub__/{what}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """Plays `examples/support-desk/script.json`, and scripts that a user message brings along."""
    command = [sys.executable, "-m", "scripted_model", "--port", "0", "--script", "script.json"]
    with subprocess.Popen(command, cwd=DESK, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield ModelServer(process.stdout.readline().split()[-1])
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def run_stack(
    tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer
) -> Iterator[RunStack]:
    """`run_stack(project, **settings)`: a stack with an empty data directory, up until the end of
    the session; `stop` it when it is not needed longer."""
    stacks: list[Stack] = []

    def run(project: Path, *, env: dict[str, str] | None = None, **settings: Any) -> Stack:
        models = {
            "SCRIPTED_MODEL_URL": model_server.url,
            "SUPPORT_DESK_MODEL_URL": model_server.url,
            # A key in the developer's shell must not turn tracing on.
            "LANGSMITH_TRACING": "false",
        }
        data_dir = tmp_path_factory.mktemp("stack") / "data"
        stack = Stack(data_dir, project=project, env={**models, **(env or {})}, **settings)
        stack.start()
        stacks.append(stack)
        return stack

    try:
        yield run
    finally:
        # All at once: each takes seconds in which it mostly waits.
        with ThreadPoolExecutor(8) as stopping:
            for _ in stopping.map(Stack.stop, stacks):
                pass


@pytest.fixture(scope="session")
def stack(run_stack: RunStack) -> Stack:
    """`tests/graphs`, one worker."""
    return run_stack(GRAPHS)


@pytest.fixture(scope="session")
def desk(run_stack: RunStack) -> Stack:
    """`examples/support-desk`, one worker, offline."""
    return run_stack(DESK / "langgraph.json")


@pytest.fixture(scope="session")
def memory(run_stack: RunStack) -> Stack:
    """`tests/graphs/memory`: items are found by meaning and live for an hour, threads for two."""
    return run_stack(GRAPHS.parent / "memory" / "langgraph.json")


@pytest.fixture(scope="session")
def guarded(run_stack: RunStack) -> Stack:
    """`tests/graphs/guarded`, a project with authentication; each of its people has a token of
    their name."""
    return run_stack(GUARDED)


@pytest.fixture
def guarded_http(guarded: Stack) -> Callable[..., httpx.AsyncClient]:
    """`guarded_http("alice")`: plain HTTP as her, to be entered; as nobody without a name."""

    def opened(name: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {name}"} if name else {}
        return httpx.AsyncClient(base_url=guarded.url, headers=headers, timeout=30)

    return opened


@pytest.fixture
async def guarded_client(guarded: Stack) -> AsyncIterator[Callable[[str], LangGraphClient]]:
    """`guarded_client("alice")`: the unmodified SDK as her."""
    async with AsyncExitStack() as clients:
        made: dict[str, LangGraphClient] = {}

        def of(name: str) -> LangGraphClient:
            if name not in made:
                headers = {"authorization": f"Bearer {name}"}
                made[name] = get_client(url=guarded.url, api_key=None, headers=headers)
                clients.push_async_callback(made[name].aclose)
            return made[name]

        yield of


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[LangGraphClient]:
    """The unmodified SDK."""
    async with get_client(url=stack.url, api_key=None) as opened:
        yield opened


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP, for what the SDK hides."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as opened:
        yield opened


@pytest.fixture
async def desk_client(desk: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=desk.url, api_key=None) as opened:
        yield opened


@pytest.fixture
def talk(client: LangGraphClient, http: httpx.AsyncClient) -> Callable[[str], Talk]:
    """`talk(graph)`: a new thread to ask and to answer."""
    return lambda graph: Talk(client, http, graph)


@pytest.fixture
def story(client: LangGraphClient) -> Callable[..., Story]:
    """`story(graph)`: a new thread with a past to look at."""

    def make(graph: str = "tale", thread_id: str = "") -> Story:
        return Story(client, graph, thread_id)

    return make


class Journal:
    """What a graph of `tests/graphs` noted, as lists of words."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def lines(self) -> list[list[str]]:
        try:
            return [line.split() for line in Path(self.path).read_text().splitlines()]
        except FileNotFoundError:
            return []

    def firsts(self) -> list[str]:
        """The first word of each line: the number of the step, or what happened."""
        return [line[0] for line in self.lines()]

    def pids(self) -> list[int]:
        """The process of each line."""
        return [int(line[1]) for line in self.lines()]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
async def rows(stack: Stack) -> AsyncIterator[Any]:
    """A connection to the truth (asyncpg), for what the API does not show."""
    connection = await asyncpg.connect(stack.endpoints.database_uri)
    try:
        yield connection
    finally:
        await connection.close()


class Steps:
    """One run of twenty steps on a stack."""

    def __init__(self, stack: Stack, client: LangGraphClient, journal: Any, gate: Path) -> None:
        self.stack = stack
        self.client = client
        self.journal = journal
        self.gate = gate
        self.thread_id = ""
        self.run_id = ""

    async def start(
        self,
        *,
        gate_at: int | None = None,
        pause_s: float = 0,
        shelf: str | None = None,
        **given: Any,
    ) -> None:
        self.thread_id = (await self.client.threads.create())["thread_id"]
        work: dict[str, Any] = {"steps": 20, "journal": self.journal.path, "pause_s": pause_s}
        if gate_at is not None:
            work |= {"gate": str(self.gate), "gate_at": gate_at}
        if shelf is not None:
            work["shelf"] = shelf
        run = await self.client.runs.create(self.thread_id, "steps", input=work, **given)
        self.run_id = run["run_id"]

    async def is_at(self, step: int) -> int:
        """Wait until the step has begun and all before it are saved; the process it runs in."""
        await eventually(lambda: str(step) in self.journal.firsts(), within_s=PATIENCE_S)
        await eventually(self.count, equals=step - 1, within_s=PATIENCE_S)
        return self.journal.pids()[-1]

    async def count(self) -> int:
        state: Any = await self.client.threads.get_state(self.thread_id)
        return state["values"].get("count", 0)

    async def goes_on(self, lines: int, since: float) -> float:
        """Wait for the next line of the journal; the seconds from `since` to it."""
        await eventually(
            lambda: len(self.journal.lines()) > lines, within_s=PATIENCE_S, every_s=0.005
        )
        return time.monotonic() - since

    async def ended(self) -> str:
        await self.client.runs.join(self.thread_id, self.run_id)
        run = await self.client.runs.get(self.thread_id, self.run_id)
        return run["status"]

    async def row(self) -> dict[str, Any]:
        """Of the run, as PostgreSQL has it."""
        connection = await asyncpg.connect(self.stack.endpoints.database_uri)
        try:
            found = await connection.fetchrow(
                "SELECT status, attempt, failures FROM runs WHERE run_id = $1", UUID(self.run_id)
            )
        finally:
            await connection.close()
        assert found is not None
        return dict(found)


@pytest.fixture
async def steps_on(journal: Any, tmp_path: Path) -> AsyncIterator[Callable[[Stack], Steps]]:
    clients: list[LangGraphClient] = []

    def make(stack: Stack) -> Steps:
        clients.append(get_client(url=stack.url, api_key=None))
        return Steps(stack, clients[-1], journal, tmp_path / "gate")

    yield make
    for client in clients:
        await client.aclose()
