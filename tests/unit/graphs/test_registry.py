from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore
from structlog.testing import capture_logs

from bedplate.graphs.config import load_config
from bedplate.graphs.registry import GraphLoadError, Registry
from bedplate.kernel.errors import NotFound

Project = Callable[..., Path]

GRAPH = """
from typing_extensions import TypedDict
from langgraph.graph import StateGraph, START
class State(TypedDict):
    said: str
def builder(text):
    return StateGraph(State).add_node("say", lambda state: {"said": text}).add_edge(START, "say")
"""


def opened(
    registry: Registry, graph_id: str, access: Any = "threads.create_run", **given: Any
) -> AbstractAsyncContextManager[Any]:
    defaults: dict[str, Any] = {
        "config": {"configurable": {"thread_id": "t", "model": "small"}},
        "context": None,
        "user": None,
        "store": InMemoryStore(),
        "checkpointer": InMemorySaver(),
    }
    return registry.open(graph_id, access=access, **(defaults | given))


async def answer(registry: Registry, graph_id: str, **given: Any) -> Any:
    async with opened(registry, graph_id, **given) as graph:
        return (await graph.ainvoke({"said": ""}, {"configurable": {"thread_id": "t"}}))["said"]


def load(folder: Path) -> Registry:
    return Registry.load(load_config(folder))


async def test_every_kind_of_reference_opens(project: Project) -> None:
    source = (
        GRAPH
        + """
import contextlib
from dataclasses import dataclass
from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint
from langgraph.runtime import Runtime
from langgraph_sdk.runtime import ServerRuntime
seen = []
@dataclass
class Context:
    name: str
compiled = builder("compiled").compile()
built = builder("built")
@entrypoint()
async def functional(given):
    return {"said": "functional"}
def plain():
    return builder("plain")
def of_config(config: RunnableConfig):
    return builder(config["configurable"]["model"]).compile()
def of_anything(cfg):
    return builder("any " + cfg["configurable"]["model"])
async def of_runtime(runtime: ServerRuntime[Context]):
    execution = runtime.execution_runtime
    name = execution.context.name if execution else "nobody"
    return builder(f"{runtime.access_context} {name}")
async def of_both(runtime: "ServerRuntime", config: "RunnableConfig"):
    return builder(runtime.ensure_user().identity + " " + config["configurable"]["model"])
def of_library_runtime(rt: Runtime[Context]):
    return builder(rt.context.name)
@contextlib.asynccontextmanager
async def managed(config):
    seen.append("open")
    try:
        yield builder("managed").compile()
    finally:
        seen.append("closed")
@contextlib.contextmanager
def managed_sync():
    yield builder("managed sync")
class Maker:
    def __call__(self, config):
        return builder("object")
maker = Maker()
"""
    )
    names = [
        "compiled",
        "built",
        "functional",
        "plain",
        "of_config",
        "of_anything",
        "of_runtime",
        "of_both",
        "of_library_runtime",
        "managed",
        "managed_sync",
        "maker",
    ]
    folder = project(
        {"graphs": {n: f"./all_kinds.py:{n}" for n in names}}, **{"all_kinds.py": source}
    )
    registry = load(folder)

    class User:
        identity = "ann"

    given = {"context": {"name": "Bob"}, "user": User()}
    answers = {n: await answer(registry, n, **given) for n in names}
    assert answers == {
        "compiled": "compiled",
        "built": "built",
        "functional": "functional",
        "plain": "plain",
        "of_config": "small",
        "of_anything": "any small",
        "of_runtime": "threads.create_run Bob",
        "of_both": "ann small",
        "of_library_runtime": "Bob",
        "managed": "managed",
        "managed_sync": "managed sync",
        "maker": "object",
    }
    assert sys.modules["all_kinds"].seen == ["open", "closed"]
    for access in ("threads.update", "threads.read", "assistants.read"):
        assert await answer(registry, "of_runtime", access=access) == f"{access} nobody"
    assert registry.graph_ids() == names


async def test_opening_never_changes_the_shared_graph(project: Project) -> None:
    source = GRAPH + (
        "from langgraph.checkpoint.memory import InMemorySaver\n"
        "from langgraph.store.memory import InMemoryStore\n"
        "graph = builder('x').compile(checkpointer=InMemorySaver(), store=InMemoryStore())\n"
    )
    folder = project({"graphs": {"g": "./shared_graph.py:graph"}}, **{"shared_graph.py": source})
    with capture_logs() as logs:
        registry = load(folder)
    original = sys.modules["shared_graph"].graph
    saver, store = InMemorySaver(), InMemoryStore()
    before = (original.checkpointer, original.store)
    async with opened(registry, "g", checkpointer=saver, store=store) as graph:
        assert (graph.checkpointer, graph.store) == (saver, store)
        assert graph is not original
    assert (original.checkpointer, original.store) == before
    (warning,) = [line for line in logs if line["event"] == "graph.persistence_replaced"]
    assert warning["replaced"] == ["checkpointer", "store"]


async def test_a_projects_own_packages_named_like_ours_are_found(project: Project) -> None:
    files = {
        f"{name}__in____init__.py": f"name = 'own {name}'\n"
        for name in ("services", "libs", "proto")
    }
    source = GRAPH + (
        "from services import name as a\nfrom libs import name as b\nfrom proto import name as c\n"
        "graph = builder(', '.join([a, b, c]))\n"
    )
    registry = load(
        project({"graphs": {"g": "./own_names.py:graph"}}, **files, **{"own_names.py": source})
    )
    assert await answer(registry, "g") == "own services, own libs, own proto"


async def test_equal_file_names_in_two_folders_are_two_modules(project: Project) -> None:
    files = {
        f"{place}__in__agent.py": GRAPH + f"graph = builder('{place}')\n"
        for place in ("one", "two", "with-dash", "src__in__three")
    }
    files["one__in__helper.py"] = "x = 1\n"
    graphs = {
        "one": "./one/agent.py:graph",
        "two": "./two/agent.py:graph",
        "dash": "./with-dash/agent.py:graph",
        "three": "./src/three/agent.py:graph",
    }
    registry = load(project({"graphs": graphs, "dependencies": ["./one", "./two"]}, **files))
    assert [await answer(registry, name) for name in graphs] == [
        "one",
        "two",
        "with-dash",
        "src__in__three",
    ]


async def test_relative_imports_and_one_copy_of_a_module_in_a_package(project: Project) -> None:
    files = {
        "own_package__in____init__.py": "",
        "own_package__in__words.py": "word = 'relative'\n",
        "own_package__in__agent.py": GRAPH + "from .words import word\ngraph = builder(word)\n",
    }
    graphs = {"file": "./own_package/agent.py:graph", "module": "own_package.agent:graph"}
    registry = load(project({"graphs": graphs}, **files))
    assert await answer(registry, "file") == "relative"
    async with opened(registry, "file") as one, opened(registry, "module") as other:
        assert one.builder is other.builder


def test_the_environment_of_the_file_is_there_at_import_and_overrides_nothing(
    project: Project,
) -> None:
    os.environ["BEDPLATE_TEST_SET"] = "process"
    source = GRAPH + (
        "import os\nseen = os.environ['BEDPLATE_TEST_NEW'], os.environ['BEDPLATE_TEST_SET']\n"
        "graph = builder('x')\n"
    )
    env = {"BEDPLATE_TEST_NEW": "file", "BEDPLATE_TEST_SET": "file"}
    load(project({"graphs": {"g": "./reads_env.py:graph"}, "env": env}, **{"reads_env.py": source}))
    assert sys.modules["reads_env"].seen == ("file", "process")


@pytest.mark.parametrize(
    ("source", "words", "trace"),
    [
        ("def f():\n    1 / 0\nf()\n", ["ZeroDivisionError"], "1 / 0"),
        ("import gone_module\n", ["No module named 'gone_module'"], "import gone_module"),
        ("graph = (\n", ["SyntaxError"], "broken.py"),
        ("raise SystemExit(3)\n", ["SystemExit: 3"], "raise SystemExit"),
        ("other = 1\n", ["has no attribute 'graph'"], ""),
        ("graph = 1\n", ["it is int"], ""),
        ("class graph: pass\n", ["the class graph"], ""),
        ("def graph(a, b): ...\n", ["parameter 'a'", "RunnableConfig"], ""),
        ("async def graph():\n    yield 1\n", ["asynccontextmanager"], ""),
        (
            "from langgraph.graph import StateGraph\ngraph = StateGraph(dict)\n",
            ["ValueError", "entrypoint"],
            "",
        ),
    ],
)
def test_a_graph_that_cannot_be_loaded_is_named_with_the_users_own_traceback(
    project: Project, source: str, words: list[str], trace: str
) -> None:
    folder = project({"graphs": {"bad": "./broken.py:graph"}}, **{"broken.py": source})
    with pytest.raises(GraphLoadError) as error:
        load(folder)
    for word in ("'bad'", *words):
        assert word in error.value.message
    assert trace in error.value.trace
    assert "bedplate" not in error.value.trace.replace(str(folder), "")
    assert "importlib" not in error.value.trace


async def test_a_factory_that_returns_no_graph_says_so(project: Project) -> None:
    folder = project(
        {"graphs": {"g": "./returns_none.py:make"}}, **{"returns_none.py": "def make(): ...\n"}
    )
    with pytest.raises(TypeError, match="make returned a NoneType"):
        await answer(load(folder), "g")


async def test_an_unknown_graph_names_the_known_ones(project: Project) -> None:
    folder = project(
        {"graphs": {"g": "./known.py:b"}}, **{"known.py": GRAPH + "b = builder('x')\n"}
    )
    with pytest.raises(NotFound, match="Known graphs: g"):
        await answer(load(folder), "h")


async def test_descriptions_show_the_graphs_own_name(project: Project) -> None:
    source = GRAPH + (
        "named = builder('x').compile(name='Support desk')\nunnamed = builder('x')\n"
        "def make(): return named\n"
    )
    graphs: dict[str, Any] = {
        "a": "./named.py:named",
        "b": {"path": "./named.py:unnamed", "description": "Says x."},
        "c": "./named.py:make",
    }
    registry = load(project({"graphs": graphs}, **{"named.py": source}))
    assert registry.describe() == [
        {"graph_id": "a", "name": "Support desk", "description": None},
        {"graph_id": "b", "name": "b", "description": "Says x."},
        {"graph_id": "c", "name": "c", "description": None},
    ]


async def test_concurrent_runs_of_one_static_graph_do_not_share_what_is_attached(
    project: Project,
) -> None:
    folder = project({"graphs": {"g": "./many.py:b"}}, **{"many.py": GRAPH + "b = builder('x')\n"})
    registry = load(folder)

    async def one() -> Pregel[Any, Any, Any, Any]:
        async with opened(registry, "g") as graph:
            await asyncio.sleep(0)
            return graph

    graphs = await asyncio.gather(*(one() for _ in range(5)))
    assert len({id(graph.checkpointer) for graph in graphs}) == 5
