"""The project's own word on who runs first: the `priority` handler of langgraph.json."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import InternalServerError

from bedplate.devstack.errors import ConfigurationRefused
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

PATIENCE_S = 30.0
# One run may be claimed by the executor already, and one have its ticket.
AHEAD_MAX = 2
MANIFEST: dict[str, Any] = {
    "dependencies": ["."],
    "graphs": {"noted": "./agent.py:graph"},
    "priority": {"path": "./order.py:priority"},
}
AGENT = """
import asyncio
from pathlib import Path
from typing import TypedDict

from langgraph.graph import START, StateGraph

ROOT = Path(__file__).parent


class State(TypedDict, total=False):
    name: str
    waits: bool


async def node(state: State) -> State:
    with (ROOT / "begun").open("a") as file:
        file.write(state["name"] + "\\n")
    while state.get("waits") and not await asyncio.to_thread((ROOT / state["name"]).exists):
        await asyncio.sleep(0.02)
    return {}


graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
"""
ORDER = """
import asyncio
import dataclasses
import json
from pathlib import Path

from langgraph_sdk import Priority

priority = Priority()


@priority.assign
async def assign(ctx):
    told = {f.name: getattr(ctx, f.name) for f in dataclasses.fields(ctx)}
    told |= {"user": ctx.user.identity, "permissions": list(ctx.permissions)}
    with (Path(__file__).parent / "asked").open("a") as file:
        file.write(json.dumps(told) + "\\n")
    if "fails" in ctx.run_metadata:
        raise RuntimeError("the handler fails")
    if "sleeps" in ctx.run_metadata:
        await asyncio.sleep(60)
    return ctx.run_metadata.get("settings")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("priorities")
    (folder / "langgraph.json").write_text(json.dumps(MANIFEST))
    (folder / "agent.py").write_text(AGENT)
    (folder / "order.py").write_text(ORDER)
    return folder


@pytest.fixture(scope="module")
def one_slot(run_stack: Any, project: Path) -> Iterator[Stack]:
    """One run at a time, and one more that is already on its way to the executor."""
    env = {"N_JOBS_PER_WORKER": "1", "BEDPLATE_RUN_SCHEDULER_TICKETS_MAX": "1"}
    running = run_stack(project / "langgraph.json", env=env)
    yield running
    running.stop()


@pytest.fixture
async def ranked(one_slot: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=one_slot.url, api_key=None) as opened:
        yield opened


@pytest.fixture
async def truth(one_slot: Stack) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(one_slot.endpoints.database_uri)
    try:
        yield connection
    finally:
        await connection.close()


def lines(project: Path, name: str) -> list[str]:
    file = project / name
    return file.read_text().splitlines() if file.exists() else []


def asked(project: Path, thread_id: str | None) -> list[Any]:
    told = [json.loads(line) for line in lines(project, "asked")]
    return [one for one in told if one["thread_id"] == thread_id]


async def settings_of(truth: Any, thread_id: str) -> tuple[Any, ...]:
    query = "SELECT priority, fairness_group FROM threads WHERE thread_id = $1"
    return tuple(await truth.fetchrow(query, UUID(thread_id)))


async def run(client: Any, thread_id: str | None, **metadata: Any) -> Any:
    given = {"name": uuid4().hex}
    made = {} if thread_id is None else {"if_not_exists": "create"}
    return await client.runs.wait(thread_id, "noted", input=given, metadata=metadata, **made)


async def test_the_first_run_of_a_thread_decides_for_all_of_them(
    ranked: LangGraphClient, truth: Any, project: Path
) -> None:
    mine = await ranked.assistants.create("noted", metadata={"tier": "gold"})
    thread = await ranked.threads.create(metadata={"owner": "o"})
    thread_id = thread["thread_id"]
    settings = {"priority": -3, "fairness_group": "g"}
    for given in (settings, {"priority": 5}):
        await ranked.runs.wait(
            thread_id,
            mine["assistant_id"],
            input={"name": "first"},
            metadata={"settings": given, "colour": "red"},
        )
    (told,) = asked(project, thread_id)
    assert told["run_metadata"]["colour"] == "red"
    assert {key: told[key] for key in told if key != "run_metadata"} == {
        "user": "",
        "permissions": [],
        "thread_id": thread_id,
        "thread_metadata": {"owner": "o"},
        "assistant_id": mine["assistant_id"],
        "graph_id": "noted",
        "assistant_metadata": {"tier": "gold"},
        "cron_id": None,
    }
    assert await settings_of(truth, thread_id) == (-3, "g")
    shown = "SELECT DISTINCT priority, fairness_group FROM runs WHERE thread_id = $1"
    assert [tuple(row) for row in await truth.fetch(shown, UUID(thread_id))] == [(-3, "g")]


async def test_an_answer_of_defaults_is_an_answer(
    ranked: LangGraphClient, truth: Any, project: Path
) -> None:
    thread_id = str(uuid4())
    await run(ranked, thread_id)
    assert await settings_of(truth, thread_id) == (0, "default")
    await run(ranked, thread_id)
    assert len(asked(project, thread_id)) == 1


@pytest.mark.parametrize(
    "how", [{"fails": 1}, {"sleeps": 1}, {"settings": {"priority": 6}}, {"settings": "high"}]
)
async def test_a_handler_that_fails_holds_up_no_run_and_is_asked_again(
    ranked: LangGraphClient, truth: Any, project: Path, how: Any
) -> None:
    thread_id = str(uuid4())
    await run(ranked, thread_id, **how)
    assert await settings_of(truth, thread_id) == (None, None)
    await run(ranked, thread_id, settings={"priority": 2})
    assert await settings_of(truth, thread_id) == (2, "default")
    assert len(asked(project, thread_id)) == 2


async def test_a_stateless_run_is_asked_for_without_a_thread(
    ranked: LangGraphClient, project: Path
) -> None:
    before = len(asked(project, None))
    await run(ranked, None)
    batch: Any = [
        {"assistant_id": "noted", "input": {"name": "b"}, "metadata": {"n": n}} for n in range(3)
    ]
    await ranked.runs.create_batch(batch)
    told = asked(project, None)[before:]
    assert sorted(one["run_metadata"].get("n", -1) for one in told) == [-1, 0, 1, 2]


async def test_a_cron_is_asked_for_when_it_is_made_or_changed(
    ranked: LangGraphClient, truth: Any, project: Path
) -> None:
    settings = {"priority": 4, "fairness_group": "night"}
    # Every second.
    cron: Any = await ranked.crons.create(
        "noted", schedule="* * * * * *", input={"name": "c"}, metadata={"settings": settings}
    )
    cron_id = cron["cron_id"]
    try:
        fired = (
            "SELECT DISTINCT priority, fairness_group FROM runs WHERE metadata ->> 'cron_id' = $1"
        )
        await eventually(lambda: truth.fetch(fired, cron_id), within_s=PATIENCE_S)
        assert [tuple(row) for row in await truth.fetch(fired, cron_id)] == [(4, "night")]
        await ranked.crons.update(cron_id, enabled=False)
    finally:
        await ranked.crons.delete(cron_id)
    told = [one for one in asked(project, None) if one["cron_id"] == cron_id]
    assert [one["run_metadata"]["settings"] for one in told] == [settings] * 2


@pytest.mark.parametrize("how", [{"fails": 1}, {"settings": {"priority": 6}}])
async def test_a_cron_that_nobody_can_rank_is_not_made_but_can_be_switched_off(
    ranked: LangGraphClient, truth: Any, how: Any
) -> None:
    with pytest.raises(InternalServerError, match="priority handler") as refused:
        await ranked.crons.create("noted", schedule="0 0 1 1 *", metadata=how)
    assert refused.value.status_code == 503
    assert await ranked.crons.search(metadata=how) == []
    cron: Any = await ranked.crons.create(
        "noted", schedule="0 0 1 1 *", metadata={"settings": {"priority": 3}}
    )
    changed: Any = await ranked.crons.update(cron["cron_id"], enabled=False, metadata=how)
    assert changed["enabled"] is False
    planned = "SELECT run_order ->> 'priority' FROM crons WHERE cron_id = $1"
    assert await truth.fetchval(planned, UUID(cron["cron_id"])) == "3"
    await ranked.crons.delete(cron["cron_id"])


class Queue:
    """The only slot is held; runs wait behind it until `release`."""

    def __init__(self, client: Any, project: Path) -> None:
        self.client, self.project, self.head = client, project, uuid4().hex

    async def hold(self) -> None:
        await self.client.runs.create(
            None, "noted", input={"name": self.head, "waits": True}, metadata={}
        )
        await eventually(lambda: self.head in lines(self.project, "begun"), within_s=PATIENCE_S)

    async def put(self, name: str, **settings: Any) -> None:
        await self.client.runs.create(
            None, "noted", input={"name": name}, metadata={"settings": settings}
        )

    async def release(self, *names: str) -> list[str]:
        """These, in the order in which they began."""
        (self.project / self.head).touch()

        def begun() -> list[str]:
            return [name for name in lines(self.project, "begun") if name in names]

        return await eventually(
            begun, satisfies=lambda found: len(found) == len(names), within_s=PATIENCE_S
        )


async def test_what_matters_more_overtakes_what_waits(
    ranked: LangGraphClient, project: Path
) -> None:
    queue = Queue(ranked, project)
    await queue.hold()
    low = [f"low-{n}-{queue.head}" for n in range(6)]
    high = f"high-{queue.head}"
    for name in low:
        await queue.put(name, priority=5, fairness_group="low")
    await queue.put(high, priority=-5, fairness_group="high")
    begun = await queue.release(*low, high)
    assert begun.index(high) <= AHEAD_MAX
    assert [name for name in begun if name != high] == low, "among equals, who came first"


async def test_a_crowd_delays_another_group_by_a_slot_or_two(
    ranked: LangGraphClient, project: Path
) -> None:
    queue = Queue(ranked, project)
    await queue.hold()
    crowd = [f"crowd-{n}-{queue.head}" for n in range(10)]
    one = f"one-{queue.head}"
    for name in crowd:  # one after another: many at once may have a ticket each
        await queue.put(name, fairness_group="crowd")
    await queue.put(one, fairness_group="one")
    begun = await queue.release(*crowd, one)
    assert begun.index(one) <= AHEAD_MAX


def test_a_handler_that_cannot_be_loaded_stops_the_start(one_slot: Stack, tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "order.py").write_text("priority = 'high'")
    env = {"BEDPLATE_EXECUTOR_CONFIG": str(tmp_path / "langgraph.json")}
    with pytest.raises(ConfigurationRefused, match=r"priority handler.*must be"):
        one_slot.start_service("executor", replica=2, env=env)
    one_slot.stop_service("executor", replica=2)
