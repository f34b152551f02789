"""A project is served as it is: every way to name a graph, its own packages, its own changes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.errors import ConfigurationRefused
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

PATIENCE_S = 30.0
EXIT_CONFIGURATION = 78

MANIFEST = """
{"dependencies": ["."], "graphs": {"answers": "./agent.py:graph"}}
"""
AGENT = """
from typing import TypedDict

from langgraph.graph import START, StateGraph
from services.answers import answer


class State(TypedDict, total=False):
    value: str


async def node(state: State) -> State:
    return {"value": answer()}


graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
"""
FACTORY_FAILS = """

def broken():
    raise RuntimeError("no model is configured")
"""


def answers(word: str) -> str:
    return f'def answer() -> str:\n    return "{word}"\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that edits may break; its `services` package is its own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "langgraph.json").write_text(MANIFEST)
    (folder / "agent.py").write_text(AGENT)
    (folder / "services").mkdir()
    (folder / "services" / "__init__.py").touch()
    (folder / "services" / "answers.py").write_text(answers("first"))
    return folder


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What a terminal shows of `edited`."""
    return []


@pytest.fixture(scope="module")
def edited(run_stack: Any, project: Path, told: list[str]) -> Iterator[Stack]:
    running = run_stack(project / "langgraph.json", reload=True, tell=told.append)
    yield running
    running.stop()


@pytest.fixture
async def editor(edited: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=edited.url, api_key=None) as opened:
        yield opened


async def value_of(client: LangGraphClient, graph: str, **given: Any) -> Any:
    wait: Any = client.runs.wait
    return (await wait(None, graph, **{"input": {}, **given}))["value"]


@pytest.mark.parametrize(
    ("graph", "given", "value"),
    [
        ("noop", {"input": {"value": 1}}, 1),
        ("uncompiled", {"input": {"value": 1}}, 1),
        ("factory_config", {"config": {"configurable": {"flavour": "lime"}}}, {"flavour": "lime"}),
        (
            "factory_runtime",
            {},
            {"access_context": "threads.create_run", "is_run": True, "user": None},
        ),
        # A module reference, and a variable of the project's `env`.
        ("sync_factory", {}, {"greeting": "from langgraph.json"}),
    ],
)
async def test_every_way_to_name_a_graph_leads_to_it(
    client: LangGraphClient, graph: str, given: dict[str, Any], value: Any
) -> None:
    assert await value_of(client, graph, **given) == value
    system = {"created_by": "system"}
    [assistant] = await client.assistants.search(graph_id=graph, metadata=system)
    assert assistant["metadata"] == system
    assert await value_of(client, assistant["assistant_id"], **given) == value


async def test_a_functional_graph_knows_what_it_answered_before(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    for run in (1, 2):
        answer = await client.runs.wait(thread_id, "functional", input={"n": 3})
        assert answer == {"squares": [0, 1, 4], "runs": run}


async def test_a_context_manager_is_left_when_the_run_is_over(
    client: LangGraphClient, journal: Any
) -> None:
    await value_of(client, "factory_runtime", config={"configurable": {"journal": journal.path}})
    assert journal.lines() == [["enter", "threads.create_run"], ["exit", "threads.create_run"]]


async def test_packages_named_like_ours_are_the_projects_own(client: LangGraphClient) -> None:
    message = {"role": "user", "content": "hi"}
    values: Any = await client.runs.wait(None, "messages", input={"messages": [message]})
    assert values["messages"][-1]["content"] == "echo: hi"


async def test_a_change_reaches_the_next_run_and_a_mistake_does_not(
    edited: Stack, editor: LangGraphClient, project: Path
) -> None:
    source = project / "services" / "answers.py"
    log = edited.logs("executor")
    assert await value_of(editor, "answers") == "first"

    source.write_text(answers("second"))
    await eventually(lambda: value_of(editor, "answers"), equals="second", within_s=PATIENCE_S)

    source.write_text("def answer( -> str:\n")
    await eventually(lambda: "reload.failed" in log.read_text(), within_s=PATIENCE_S)
    assert "SyntaxError" in log.read_text() and "answers.py" in log.read_text()
    assert await value_of(editor, "answers") == "second", "the graphs that worked still do"

    source.write_text(answers("third"))
    await eventually(lambda: value_of(editor, "answers"), equals="third", within_s=PATIENCE_S)


async def test_a_graph_that_is_new_in_the_manifest_is_served(
    edited: Stack, editor: LangGraphClient, project: Path
) -> None:
    (project / "agent.py").write_text(AGENT + FACTORY_FAILS)
    (project / "langgraph.json").write_text(
        MANIFEST.replace('{"answers"', '{"broken": "./agent.py:broken", "answers"')
    )

    async def names() -> set[str]:
        return {found["graph_id"] for found in await editor.assistants.search(limit=10)}

    await eventually(names, equals={"answers", "broken"}, within_s=PATIENCE_S)
    # Its factory fails for every run: at once, with its own words.
    thread_id = (await editor.threads.create())["thread_id"]
    answer: Any = await editor.runs.wait(thread_id, "broken", input={}, raise_error=False)
    assert answer["__error__"] == {"error": "RuntimeError", "message": "no model is configured"}
    [run] = await editor.runs.list(thread_id)
    assert run["status"] == "error"


async def test_a_run_is_handed_over_to_the_new_files(
    edited: Stack, editor: LangGraphClient, project: Path
) -> None:
    """It stops at its next step, and goes on in a worker that has the change."""
    (project / "agent.py").write_text(STEPPING)
    (project / "langgraph.json").write_text(MANIFEST)

    async def is_stepping() -> bool:
        values: Any = await editor.runs.wait(None, "answers", input={"steps": 1, "pause_s": 0})
        return values.get("by") == [1]

    await eventually(is_stepping, within_s=PATIENCE_S)
    thread_id = (await editor.threads.create())["thread_id"]
    # It steps until the change is there, however long the machine takes to see it.
    given = {"steps": 40, "pause_s": 0.1, "until": 2}
    run = await editor.runs.create(thread_id, "answers", input=given)
    (project / "agent.py").write_text(STEPPING.replace("VERSION = 1", "VERSION = 2"))
    values: Any = await editor.runs.join(thread_id, run["run_id"])
    assert values["by"] == sorted(values["by"]) and set(values["by"]) == {1, 2}


async def test_an_app_that_changes_is_served_as_it_is_now_and_a_mistake_is_told(
    edited: Stack, told: list[str], project: Path
) -> None:
    manifest = project / "langgraph.json"
    manifest.write_text(MANIFEST)
    (project / "agent.py").write_text(AGENT)
    (project / "web.py").write_text(app_that_says("first"))
    told.clear()
    async with supervised(edited), httpx.AsyncClient(base_url=edited.url, timeout=5) as http:

        async def shown() -> str:
            return (await http.get("/word")).json()

        async def written() -> bool:
            # Until it is seen: nobody knows when the watch has begun.
            manifest.write_text(MANIFEST.replace("{", '{"http": {"app": "./web.py:app"},', 1))
            return bool(told)

        await eventually(written, within_s=PATIENCE_S, every_s=2)
        await eventually(shown, equals="first", within_s=PATIENCE_S)
        assert any("run-scheduler starts anew" in line for line in told)

        (project / "web.py").write_text("import shop_of_horrors\n")
        await eventually(
            lambda: any("gateway waits" in line and "shop_of_horrors" in line for line in told),
            within_s=PATIENCE_S,
        )
        (project / "web.py").write_text(app_that_says("second"))
        await eventually(shown, equals="second", within_s=PATIENCE_S)
    manifest.write_text(MANIFEST)


@asynccontextmanager
async def supervised(stack: Stack) -> AsyncGenerator[None]:
    is_over = threading.Event()
    supervising = asyncio.create_task(asyncio.to_thread(stack.supervise, is_over))
    try:
        yield
    finally:
        is_over.set()
        await supervising


def app_that_says(word: str) -> str:
    return f"""
from fastapi import FastAPI

app = FastAPI()


@app.get("/word")
async def word() -> str:
    return "{word}"
"""


STEPPING = """
import asyncio
import operator
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph

VERSION = 1


class State(TypedDict, total=False):
    by: Annotated[list[int], operator.add]
    steps: int
    pause_s: float
    until: int


async def step(state: State) -> State:
    await asyncio.sleep(state.get("pause_s", 0))
    return {"by": [VERSION]}


def what_next(state: State) -> str:
    is_over = len(state["by"]) >= state.get("steps", 1) and VERSION >= state.get("until", 1)
    return "__end__" if is_over else "step"


graph = (
    StateGraph(State)
    .add_node(step)
    .add_edge(START, "step")
    .add_conditional_edges("step", what_next, ["step", "__end__"])
    .compile()
)
"""


def test_a_project_that_cannot_be_imported_is_refused_with_the_users_own_traceback(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "langgraph.json").write_text(MANIFEST)
    (tmp_path / "agent.py").write_text("import shop_of_horrors\n")
    env = {"BEDPLATE_EXECUTOR_CONFIG": str(tmp_path / "langgraph.json")}
    with pytest.raises(ConfigurationRefused) as refused:
        stack.start_service("executor", replica=40, env=env)
    stack.stop_service("executor", replica=40)
    told = refused.value.message
    assert "graph 'answers'" in told.lower()
    assert "ModuleNotFoundError: No module named 'shop_of_horrors'" in told
    assert f'File "{tmp_path / "agent.py"}", line 1' in told
    assert "bedplate" not in told.replace(str(tmp_path), ""), "none of our own frames"


def test_an_executor_whose_project_is_wrong_exits_with_78(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text(MANIFEST)
    (tmp_path / "agent.py").write_text("graph = 1 / 0\n")
    env = {
        "DATABASE_URI": stack.endpoints.database_uri,
        "NATS_URL": stack.endpoints.nats_url,
        "BEDPLATE_EXECUTOR_CONFIG": str(tmp_path / "langgraph.json"),
        "BEDPLATE_EXECUTOR_OPS_PORT": "0",
    }
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "bedplate_executor"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == EXIT_CONFIGURATION
    assert "ZeroDivisionError" in ended.stderr and 'agent.py", line 1' in ended.stderr
