"""The graphs of `tests/graphs` load, and do what its README says, in this process."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from langgraph_sdk.runtime import _ExecutionRuntime  # pyright: ignore[reportPrivateUsage]

from bedplate.testing.eventually import eventually

GRAPHS = Path(__file__).parents[2] / "graphs"
README = GRAPHS / "README.md"
MANIFEST: dict[str, Any] = json.loads((GRAPHS / "langgraph.json").read_text())
SPECS: dict[str, Any] = MANIFEST["graphs"]


class Project:
    """Opens graphs much as an executor does, with a saver and a store of its own."""

    def __init__(self, load: Any) -> None:
        self._load = load
        allowed = MANIFEST["checkpointer"]["serde"]["allowed_msgpack_modules"]
        serde = JsonPlusSerializer(allowed_msgpack_modules=[tuple(name) for name in allowed])
        self.saver, self.store = InMemorySaver(serde=serde), InMemoryStore()

    def named(self, graph_id: str) -> Any:
        spec = SPECS[graph_id]
        path, _, name = (spec["path"] if isinstance(spec, dict) else spec).partition(":")
        if str(GRAPHS) not in sys.path:
            sys.path.insert(0, str(GRAPHS))
        is_file = path.endswith(".py")
        module: ModuleType = self._load(GRAPHS / path) if is_file else importlib.import_module(path)
        return getattr(module, name)

    @asynccontextmanager
    async def opened(self, graph_id: str, config: dict[str, Any]) -> AsyncGenerator[Any]:
        graph = self.named(graph_id)
        if inspect.isfunction(graph):
            runtime = _ExecutionRuntime(access_context="threads.create_run", store=self.store)
            given = {"config": config, "runtime": runtime}
            names = inspect.signature(graph).parameters
            made = graph(**{name: given[name] for name in names})
            if hasattr(made, "__aenter__"):
                async with made as graph:
                    yield self._ready(graph)
                return
            graph = await made if inspect.isawaitable(made) else made
        yield self._ready(graph)

    def _ready(self, graph: Any) -> Any:
        compiled = graph.compile() if isinstance(graph, StateGraph) else graph
        return compiled.copy(update={"checkpointer": self.saver, "store": self.store})

    async def run(self, graph_id: str, given: Any = None, **configurable: Any) -> Any:
        config = {"configurable": {"thread_id": graph_id, **configurable}}
        async with self.opened(graph_id, config) as graph:
            return await graph.ainvoke({} if given is None else given, config)

    async def stream(self, graph_id: str, given: Any, mode: str, **options: Any) -> list[Any]:
        config = {"configurable": {"thread_id": graph_id}}
        async with self.opened(graph_id, config) as graph:
            parts = graph.astream(given, config, stream_mode=mode, **options)
            return [part async for part in parts]


@pytest.fixture
def project(load: Any) -> Project:
    return Project(load)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def lines(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


async def begun(journal: Path, line: str) -> None:
    """Return when a graph has noted `line`."""
    await eventually(lambda: line in lines(journal), equals=True, within_s=10)


def test_the_project_has_exactly_the_promised_graphs(project: Project) -> None:
    table = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    promised = [name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(SPECS) == sorted(promised)
    assert all(project.named(graph_id) is not None for graph_id in SPECS)


async def test_the_steps_leave_a_line_each(project: Project, journal: Path) -> None:
    state = await project.run("steps", {"journal": str(journal)})
    assert (state["count"], state["log"]) == (20, list(range(1, 21)))
    assert lines(journal) == [f"{number} {os.getpid()}" for number in range(1, 21)]


async def test_a_step_waits_at_its_gate(project: Project, journal: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    given = {"steps": 3, "gate": str(gate), "gate_at": 2}
    run = asyncio.create_task(project.run("steps", given, journal=str(journal)))
    await begun(journal, f"2 {os.getpid()}")
    assert not run.done()
    gate.touch()
    assert (await run)["count"] == 3


async def test_the_tokens_come_one_by_one(project: Project) -> None:
    parts = await project.stream("tokens", {"n": 50}, "messages")
    assert [part[0].content for part in parts if part[0].content] == [f"t{n} " for n in range(50)]


async def test_the_approvals_stop_and_go_on(project: Project) -> None:
    state = await project.run("approval", {"question": "Pay?"})
    assert state["__interrupt__"][0].value == {"question": "Pay?"}
    assert (await project.run("approval", Command(resume="yes")))["answer"] == "yes"

    state = await project.run("two_approvals")
    ids = {one.value: one.id for one in state["__interrupt__"]}
    assert sorted(ids) == ["left?", "right?"]
    await project.run("two_approvals", Command(resume={ids["left?"]: 1}))
    state = await project.run("two_approvals", Command(resume={ids["right?"]: 2}))
    assert (state["answers"], state["is_joined"]) == ({"left": 1, "right": 2}, True)


async def test_the_child_graph_streams_under_its_own_namespace(project: Project) -> None:
    parts = await project.stream("subgraphs", {}, "updates", subgraphs=True)
    inside = [name for namespace, update in parts if namespace for name in update]
    assert inside == ["inner_first", "inner_second"]
    state = await project.run("subgraphs", {"asks": True}, thread_id="asks")
    assert state["__interrupt__"][0].value == "go on inside?"
    state = await project.run("subgraphs", Command(resume="yes"), thread_id="asks")
    assert state["visited"] == ["before", "inner_first", "inner_second", "after"]


async def test_the_plain_ones_answer(project: Project) -> None:
    assert await project.run("noop", {"value": 1}) == {"value": 1}
    assert await project.run("uncompiled", {"value": 1}) == {"value": 1}
    state = await project.run("messages", {"messages": [("user", "hi")]})
    assert state["messages"][-1].text == "echo: hi"
    parts = await project.stream("custom", {"n": 2}, "custom")
    assert parts == [{"step": 1, "of": 2}, {"step": 2, "of": 2}]
    assert await project.run("functional", {"n": 3}) == {"squares": [0, 1, 4], "runs": 1}
    assert await project.run("functional", {"n": 1}) == {"squares": [0], "runs": 2}


async def test_the_factories_get_what_they_ask_for(
    project: Project, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHS_GREETING", "hello")
    state = await project.run("factory_config", flavour="lemon")
    assert state["value"] == {"flavour": "lemon"}
    state = await project.run("factory_runtime", journal=str(journal))
    assert state["value"] == {"access_context": "threads.create_run", "is_run": True, "user": None}
    assert lines(journal) == ["enter threads.create_run", "exit threads.create_run"]
    assert (await project.run("sync_factory"))["value"] == {"greeting": "hello"}


async def test_odd_types_come_back_from_a_checkpoint_as_they_were(project: Project) -> None:
    await project.run("typed", {"pauses": True})
    state = await project.run("typed", Command(resume=True))
    kinds = {**state["kinds"]}
    assert {kinds.pop(name) for name in ("pauses", "pair", "context")} <= {
        "bool",
        "tuple",
        "list",
        "dict",
    }
    assert kinds == {
        "instant": "datetime",
        "day": "date",
        "span": "timedelta",
        "price": "Decimal",
        "id": "UUID",
        "names": "set",
        "blob": "bytes",
        "colour": "Colour",
        "point": "Point",
        "parcel": "Parcel",
    }
    assert state["context"] == {"user": "nobody", "limit": 3}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("ValueError", ValueError),
        ("KeyError", KeyError),
        ("group", ExceptionGroup),
        ("unprintable", Exception),
        ("long", ValueError),
        ("nul", ValueError),
        ("base", BaseException),
        ("unheard of", NotImplementedError),
    ],
)
async def test_raises_raises(project: Project, kind: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        await project.run("raises", {"kind": kind})


async def test_what_no_serializer_takes_cannot_be_saved(project: Project) -> None:
    with pytest.raises(TypeError, match="lock"):
        await project.run("unserialisable")
    [part] = await project.stream("unserialisable", {"where": "stream"}, "custom")
    assert type(part["lock"]).__name__ == "lock"


async def test_the_troublesome_ones_can_be_mild(project: Project, journal: Path) -> None:
    assert (await project.run("blocks", {"seconds": 0}))["value"] == "done"
    assert (await project.run("eats_memory", {"bytes": 1000}))["value"] == 1000
    assert (await project.run("sleeps", {"seconds": 0}))["value"] == "done"
    survived = await project.run("exits", {"once": str(journal.parent)})
    assert survived["value"] == "survived"


async def test_sleeps_is_cancelled_and_stubborn_is_not(project: Project, journal: Path) -> None:
    noted = {"journal": str(journal)}
    sleeper = asyncio.create_task(project.run("sleeps", noted))
    await begun(journal, f"sleeps {os.getpid()}")
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper
    assert lines(journal)[-1] == f"cancelled {os.getpid()}"

    stubborn = asyncio.create_task(project.run("stubborn", {**noted, "seconds": 0.3}))
    await begun(journal, f"stubborn {os.getpid()}")
    stubborn.cancel()
    await begun(journal, f"ignored {os.getpid()}")
    await asyncio.wait([stubborn])


@pytest.mark.parametrize(
    ("how", "code"), [("_exit", 7), ("exit", 7), ("segfault", -11), ("kill", -9)]
)
def test_exits_ends_its_process(how: str, code: int, tmp_path: Path) -> None:
    given = {"how": how, "code": 7, "once": str(tmp_path / "once")}
    program = (
        f"import asyncio, trouble; print(asyncio.run(trouble.exits.ainvoke({given!r}))['value'])"
    )
    command = [sys.executable, "-c", program]
    first = subprocess.run(command, cwd=GRAPHS, capture_output=True, timeout=60)
    assert first.returncode == code
    second = subprocess.run(command, cwd=GRAPHS, capture_output=True, timeout=60, text=True)
    assert (second.returncode, second.stdout.strip()) == (0, "survived")


async def test_the_deep_agent_follows_the_script_it_is_given(
    project: Project, load: Any, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = load(GRAPHS.parents[1] / "examples/support-desk/scripted_model/__init__.py")
    with scripted.ScriptedServer({}) as server:
        monkeypatch.setenv("SCRIPTED_MODEL_URL", server.url)
        steps = [{"tool_calls": [{"name": "note", "args": {"step": n}}]} for n in (1, 2, 3)]
        script = json.dumps([*steps, {"text": "all noted"}])
        given = {"messages": [("user", f"go ```stub {script}```")]}
        state = await project.run("agent", given, journal=str(journal))
        assert state["messages"][-1].text == "all noted"
        assert lines(journal) == [f"{number} {os.getpid()}" for number in (1, 2, 3)]
        assert len({request["digest"] for request in server.requests}) == 4
