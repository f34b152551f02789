"""A private PostgreSQL, a migrated database for each test, and what savers are made of."""

from __future__ import annotations

import asyncio
import itertools
import operator
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import asyncpg
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.types import interrupt

from bedplate.devstack.servers import Servers
from bedplate.graphs.committer import Committer
from bedplate.graphs.fence import AttemptFence, Fence
from bedplate.graphs.saver import PostgresSaver
from bedplate.sql import migrate, migrations_of

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server_uri() -> Iterator[str]:
    """A PostgreSQL with the database `template_of_tests`, migrated."""
    with tempfile.TemporaryDirectory(prefix="bedplate-graphs-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as servers:
            uri = servers.endpoints.database_uri
            asyncio.run(_make_template(uri))
            yield uri
            # Each test had a database of its own: to write them all down takes half a minute, and
            # they are thrown away.
            servers.kill("postgres")


def _named(uri: str, database: str) -> str:
    return uri.rsplit("/", 1)[0] + "/" + database


async def _make_template(uri: str) -> None:
    connection = await asyncpg.connect(uri, timeout=10)
    await connection.execute("CREATE DATABASE template_of_tests")
    await connection.close()
    connection = await asyncpg.connect(_named(uri, "template_of_tests"), timeout=10)
    await migrate(
        connection,
        [
            *migrations_of("ledger", "bedplate.ledger"),
            *migrations_of("graphs", "bedplate.graphs"),
        ],
    )
    await connection.close()


@pytest.fixture
async def uri(server_uri: str) -> str:
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(server_uri, timeout=10)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests")
    await connection.close()
    return _named(server_uri, name)


@dataclass
class Tables:
    """The database of one test, and the ledger's rows that fences look at."""

    uri: str
    pool: Any
    committer: Committer
    saver: PostgresSaver

    async def thread(self, thread_id: UUID | None = None) -> UUID:
        thread_id = thread_id or uuid4()
        await self.pool.execute(
            "INSERT INTO threads (thread_id, tenant) VALUES ($1, 'default') ON CONFLICT DO NOTHING",
            thread_id,
        )
        return thread_id

    async def run(
        self, thread_id: UUID | None = None, *, status: str = "running", attempt: int = 1
    ) -> AttemptFence:
        """A run as the ledger would leave it; a running one before it on the thread is over."""
        thread_id = await self.thread(thread_id)
        fence = AttemptFence(uuid4(), attempt)
        if status == "running":
            await self.pool.execute(
                "UPDATE runs SET status = 'success' WHERE thread_id = $1 AND status = 'running'",
                thread_id,
            )
        await self.pool.execute(
            "INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, status,"
            " multitask_strategy, kwargs, attempt)"
            " VALUES ($1, $2, 'default', $3, 'agent', $4, 'enqueue', '{}', $5)",
            fence.run_id,
            thread_id,
            uuid4(),
            status,
            attempt,
        )
        return fence

    async def supersede(self, fence: AttemptFence, *, connection: Any = None) -> AttemptFence:
        """Another attempt takes the run, as the ledger does it."""
        on = connection or self.pool
        await on.execute("SELECT 1 FROM runs WHERE run_id = $1 FOR UPDATE", fence.run_id)
        await on.execute(
            "UPDATE runs SET attempt = attempt + 1 WHERE run_id = $1 AND status = 'running'",
            fence.run_id,
        )
        return AttemptFence(fence.run_id, fence.attempt + 1)

    def fenced(self, fence: Fence | None) -> PostgresSaver:
        return self.saver.with_fence(fence)

    async def count(self, table: str, thread_id: str | UUID) -> int:
        return await self.pool.fetchval(
            f"SELECT count(*) FROM {table} WHERE thread_id = $1", str(thread_id)
        )


@pytest.fixture
async def tables(uri: str) -> AsyncIterator[Tables]:
    async with asyncpg.create_pool(
        uri, min_size=1, max_size=8, command_timeout=10, timeout=10
    ) as pool:
        committer = Committer(pool)
        yield Tables(uri, pool, committer, PostgresSaver(pool, committer))
        await committer.aclose()


# -- graphs


def message_texts(values: Any) -> list[str]:
    return [message.text for message in values["messages"]]


def chat(*, snapshot_frequency: int = 50) -> StateGraph[Any]:
    """Answers `turns` times, one super-step each; messages are kept as in a deep agent."""

    kept = DeltaChannel(_messages_delta_reducer, snapshot_frequency=snapshot_frequency)
    # Not a class: its annotations would be read without the names of this function.
    State = TypedDict(  # noqa: UP013
        "State",
        {
            "messages": Annotated[list[AnyMessage], kept],
            "files": Annotated[dict[str, str], DeltaChannel(merged, snapshot_frequency=3)],
            "log": Annotated[list[str], operator.add],
            "turns": int,
        },
    )

    async def think(state: State) -> dict[str, Any]:
        text = f"answer {len(state['messages'])}"
        changed: dict[str, Any] = {
            "messages": [AIMessage(text)],
            "log": [text],
            "turns": state["turns"] - 1,
        }
        if len(state["messages"]) % 2:
            changed["files"] = {text: "written"}
        return changed

    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_edge(START, "think")
    graph.add_conditional_edges(
        "think", lambda state: "think" if state["turns"] > 0 else END, ["think", END]
    )
    return graph


def merged(state: dict[str, str], writes: list[dict[str, str]]) -> dict[str, str]:
    for write in writes:
        state = {**state, **write}
    return state


def approval() -> StateGraph[Any]:
    """Works and asks twice, side by side; `fail` as the second answer raises."""

    class State(TypedDict):
        messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]

    async def work(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("worked")]}

    async def ask(state: State) -> dict[str, Any]:
        first = interrupt("first?")
        second = interrupt("second?")
        if second == "fail":
            raise RuntimeError("as asked")
        return {"messages": [AIMessage(f"answered {first} {second}")]}

    async def close(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("closed")]}

    graph = StateGraph(State)
    for node in (work, ask, close):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "work")
    graph.add_edge(START, "ask")
    graph.add_edge(["work", "ask"], "close")
    return graph


def steps() -> StateGraph[Any]:
    """As many super-steps as `turns`, without a DeltaChannel."""

    class State(TypedDict):
        log: Annotated[list[int], operator.add]
        turns: int

    async def step(state: State) -> dict[str, Any]:
        return {"log": [state["turns"]], "turns": state["turns"] - 1}

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges(
        "step", lambda state: "step" if state["turns"] > 0 else END, ["step", END]
    )
    return graph


@dataclass
class Talk:
    """A thread, its runs and a graph on it."""

    tables: Tables
    graph: StateGraph[Any]
    thread_id: str
    durability: Any = "async"
    settles: bool = True
    """Whether attempts end as executors end them, who look after what they have stored."""
    unsettled: list[PostgresSaver] = field(default_factory=list)

    def on(self, saver: Any) -> Any:
        return self.graph.compile(checkpointer=saver)

    @property
    def place(self) -> Any:
        return {"configurable": {"thread_id": self.thread_id}}

    async def run(self, given: Any, *, saver: Any = None, **configurable: Any) -> str:
        """One run to its end, on a fenced saver or on the one given; its id."""
        run_id, own = uuid4(), None
        if saver is None:
            fence = await self.tables.run(UUID(self.thread_id))
            run_id, saver = fence.run_id, (own := self.tables.fenced(fence))
        config = {
            "configurable": {
                "thread_id": self.thread_id,
                "run_id": str(run_id),
                **configurable,
            },
            "run_id": run_id,
            "recursion_limit": 200,
        }
        try:
            await self.on(saver).ainvoke(given, config, durability=self.durability)
        finally:
            if own is not None:
                self.unsettled.append(own)
            if self.settles:
                await self.settle()
        return str(run_id)

    async def settle(self) -> None:
        """Let the attempts so far end."""
        while self.unsettled:
            await self.unsettled.pop(0).settled()

    async def say(self, text: str, *, turns: int = 3, saver: Any = None, **where: Any) -> str:
        given = {"messages": [HumanMessage(text)], "turns": turns, "log": [text]}
        return await self.run(given, saver=saver, **where)

    async def values(self, saver: Any = None) -> Any:
        return (await self.on(saver or self.tables.saver).aget_state(self.place)).values

    async def states(self, saver: Any = None) -> dict[str, Any]:
        """What is read at every checkpoint, also those that only another saver shows."""
        graph = self.on(saver or self.tables.saver)
        found = {}
        async for state in graph.aget_state_history(self.place):
            place = state.config["configurable"]["checkpoint_id"]
            found[place] = (state.values, state.next, [t.interrupts for t in state.tasks])
        return found

    async def runs(self) -> set[str]:
        found = self.tables.saver.alist(self.place)
        return {found.metadata["run_id"] async for found in found}

    async def rows(self) -> dict[str, list[Any]]:
        """Everything the thread has in the tables."""
        return {
            table: sorted(
                (
                    tuple(row.values())
                    for row in await self.tables.pool.fetch(
                        f"SELECT * FROM {table} WHERE thread_id = $1", self.thread_id
                    )
                ),
                key=repr,
            )
            for table in (
                "checkpoints",
                "checkpoint_blobs",
                "checkpoint_writes",
                "checkpoint_undo",
            )
        }


@pytest.fixture
def talk(tables: Tables) -> Callable[..., Talk]:
    def make(graph: StateGraph[Any], durability: str = "async") -> Talk:
        return Talk(tables, graph, str(uuid4()), durability)

    return make


@pytest.fixture
def graphs() -> Any:
    """The graphs of these tests, by name."""
    return SimpleNamespace(chat=chat, approval=approval, steps=steps, texts=message_texts)


@pytest.fixture
async def stock(uri: str) -> AsyncIterator[AsyncPostgresSaver]:
    """LangGraph's own saver on the same tables."""
    async with AsyncPostgresSaver.from_conn_string(uri) as saver:
        await saver.setup()
        yield saver
