"""Who may import whom: the ladder. An import line tells its own story, and no cycle can arise."""

from __future__ import annotations

import ast
import sys
from typing import Any

import pytest

# Neither a driver nor I/O: JSON, records and models may be used by everyone but the kernel.
PLAIN = {"orjson", "structlog", "pydantic", "pydantic_core"}
PROTO = {"bedplate_proto"}
SHARED = {
    "bedplate.kernel",
    "bedplate.ledger",
    "bedplate.bus",
    "bedplate.cache",
    "bedplate.chassis",
    "bedplate.backbone",
    "bedplate.foreign",
}
# langgraph never comes alone: its core, its client, what its checkpoints are packed with, and what
# its project files are read with.
LANGGRAPH = {
    "langgraph",
    "langchain_core",
    "ormsgpack",
    "langgraph_sdk",
    "httpx",
    "dotenv",
    "typing_extensions",
}
ANYTHING = {"*"}

# Package -> what it may import besides itself and the standard library, by longest prefix.
MAY_IMPORT: dict[str, set[str]] = {
    "bedplate_proto": {"pydantic"},
    "bedplate.kernel": {"bedplate_proto.vocabulary", "croniter"},
    "bedplate.sql": {"bedplate.kernel.errors"},
    "bedplate.ledger": PROTO | PLAIN | {"bedplate.kernel", "bedplate.sql", "asyncpg"},
    "bedplate.bus": PROTO
    | PLAIN
    | {"bedplate.kernel.errors", "bedplate.kernel.retry", "faststream", "nats"},
    "bedplate.graphs": PROTO
    | PLAIN
    | LANGGRAPH
    | {"bedplate.kernel", "bedplate.sql", "asyncpg", "watchfiles"},
    "bedplate.cache": PROTO | PLAIN | {"redis"},
    "bedplate.chassis": {"structlog", "pydantic", "uvicorn", "prometheus_client", "uvloop"},
    # What every service stands on: the one place that knows ledger, bus and chassis together.
    "bedplate.backbone": PROTO
    | PLAIN
    | {"bedplate.bus", "bedplate.chassis", "bedplate.kernel", "bedplate.ledger"}
    | {"bedplate.graphs.checkpoint_tables"},
    "bedplate.foreign": set(),
    "bedplate.testing": ANYTHING,
    "bedplate.devstack": ANYTHING,
    "bedplate.cli": ANYTHING,
    "bedplate.webhooks": PLAIN | {"bedplate.kernel.errors", "bedplate.graphs.config"},
    "bedplate.contracts": PROTO
    | PLAIN
    | {"bedplate.backbone", "bedplate.chassis.settings", "bedplate.foreign"}
    | {"bedplate.graphs.project_keys", "bedplate.kernel.errors"},
    "bedplate_gateway": PROTO
    | SHARED
    | PLAIN
    | {"bedplate.graphs", "bedplate.sql", "bedplate.webhooks", "fastapi", "starlette", "uvicorn"}
    | {"langgraph_sdk.auth"},
    "bedplate_run_scheduler": PROTO
    | SHARED
    | PLAIN
    | {
        "bedplate.graphs.checkpoint_tables",
        "bedplate.graphs.item_tables",
        "bedplate.graphs.persistence",
        "bedplate.sql",
    },
    "bedplate_webhook_dispatcher": PROTO
    | SHARED
    | PLAIN
    | {"bedplate.webhooks", "httpcore"}
    # What it tells may be encrypted by the project's own code.
    | {"bedplate.graphs.config", "bedplate.graphs.encryption", "bedplate.graphs.project"}
    | {"bedplate.graphs.sealing"},
    "bedplate_executor": PROTO | SHARED | PLAIN | {"bedplate.graphs", "uvloop", "watchfiles"},
}
# What constructs a service, and its table of routes, touch the frameworks; nothing else does.
RIM = {"app", "routes"}
RIM_MAY_IMPORT = {"faststream", "nats", "asyncpg", "uvicorn", "prometheus_client"}
# The one module beside `queries/` of a service that owns tables.
BESIDE_QUERIES = {"asyncpg"}
IMPURE = {"asyncio", "time", "random", "threading", "socket", "os", "subprocess"}
# The type of what is given.
GIVEN = {"random.Random"}


def _module(path: str) -> str | None:
    """`services/gateway/bedplate_gateway/app.py` -> `bedplate_gateway.app`."""
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    depth = {"libs": 1, "proto": 1, "services": 2}.get(parts[0])
    return None if depth is None else ".".join(parts[depth:])


def _package(module: str) -> str | None:
    known = [name for name in MAY_IMPORT if _is_within(module, name)]
    return max(known, key=len, default=None)


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _imports(source: Any, module: str) -> list[tuple[int, str, bool]]:
    """Line, absolute name, is it written relatively. `from a import b` is both `a` and `a.b`."""
    found: list[tuple[int, str, bool]] = []
    is_package = source.name == "__init__.py"
    for node in source.nodes:
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = node.level - is_package
            parents = module.split(".")[: -above or None] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            found += [
                (node.lineno, f"{origin}.{alias.name}", node.level > 0) for alias in node.names
            ]
    return found


def _allowed(source: Any, package: str, services_with_queries: set[str]) -> set[str]:
    allowed = MAY_IMPORT[package]
    if source.is_in("services"):
        if source.stem in RIM:
            allowed = allowed | RIM_MAY_IMPORT
        elif package in services_with_queries and source.path.count("/") == 3:
            allowed = allowed | BESIDE_QUERIES
    return allowed


def _problems(modules: list[Any], services_with_queries: set[str]) -> list[str]:
    problems: list[str] = []
    drivers: dict[str, list[str]] = {}
    for source in modules:
        module = _module(source.path)
        if module is None or module == "bedplate":
            continue
        package = _package(module)
        if package is None:
            problems.append(f"{source.path}:1: {module} is not in MAY_IMPORT: give it a row")
            continue
        allowed = _allowed(source, package, services_with_queries)
        for line, name, is_relative in _imports(source, module):
            at = f"{source.path}:{line}"
            top = name.split(".")[0]
            if _is_within(name, package):
                if source.is_in("services") and not is_relative:
                    problems.append(f"{at}: {name}: import own modules with a leading dot")
            elif top in sys.stdlib_module_names:
                if package == "bedplate.kernel" and top in IMPURE and name not in GIVEN:
                    problems.append(f"{at}: {name}: the kernel is pure: take it as an argument")
            elif allowed != ANYTHING and not any(_is_within(name, other) for other in allowed):
                listed = ", ".join(sorted(allowed))
                problems.append(f"{at}: {package} may not import {name}: only {listed}")
            elif source.is_in("services") and top == "asyncpg" and source.stem not in RIM:
                drivers.setdefault(package, []).append(at)
    for package, places in drivers.items():
        files = sorted({place.rpartition(":")[0] for place in places})
        if len(files) > 1:
            problems += [
                f"{place}: {package} imports asyncpg in {len(files)} modules: keep one"
                for place in places
            ]
    return problems


def _impure_calls(source: Any) -> list[str]:
    if not source.is_in("libs/bedplate/kernel"):
        return []
    clocks = {"now", "utcnow", "today", "monotonic", "perf_counter", "Random"}
    return [
        f"{source.path}:{node.lineno}: the kernel has no clock and no chance: take it as argument"
        for node in source.nodes
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", None)) in clocks
    ]


def test_imports_follow_the_ladder(sources: list[Any], modules: list[Any], hold: Any) -> None:
    with_queries = {
        source.path.split("/")[2]
        for source in sources
        if source.is_in("services") and "/queries/" in source.path
    }
    hold(_problems(modules, with_queries))


def test_the_kernel_reads_no_clock_and_throws_no_dice(modules: list[Any], hold: Any) -> None:
    hold([problem for source in modules for problem in _impure_calls(source)])


def test_every_package_of_ours_has_a_row(modules: list[Any]) -> None:
    packages = {".".join(module.split(".")[:2]) for m in modules if (module := _module(m.path))}
    assert {name for name in packages if name.startswith("bedplate.")} <= MAY_IMPORT.keys()


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("libs/bedplate/kernel/run.py", "import asyncio"),
        ("libs/bedplate/kernel/run.py", "import asyncpg"),
        ("libs/bedplate/kernel/run.py", "from random import random"),
        ("libs/bedplate/kernel/run.py", "from bedplate_proto.envelope import Envelope"),
        ("libs/bedplate/ledger/runs.py", "from bedplate.bus import broker"),
        ("libs/bedplate/ledger/runs.py", "from ..bus.broker import Broker"),
        ("libs/bedplate/ledger/runs.py", "from .. import bus"),
        ("libs/bedplate/chassis/log.py", "from bedplate.kernel.errors import Refused"),
        ("libs/bedplate/bus/ack.py", "def f():\n    import asyncpg"),
        ("proto/bedplate_proto/runs.py", "import orjson"),
        ("services/gateway/bedplate_gateway/runs.py", "from bedplate_executor import app"),
        ("services/gateway/bedplate_gateway/runs.py", "from bedplate_gateway.app import build"),
        ("services/gateway/bedplate_gateway/runs.py", "from bedplate.devstack import stack"),
        ("services/gateway/bedplate_gateway/runs.py", "from bedplate import testing"),
        ("services/gateway/bedplate_gateway/runs.py", "import asyncpg"),
        ("services/executor/bedplate_executor/attempt.py", "from bedplate.sql import Statements"),
        ("services/executor/bedplate_executor/attempt.py", "import langgraph"),
        ("services/executor/bedplate_executor/attempt.py", "import fastapi"),
        ("services/run-scheduler/bedplate_run_scheduler/reaper.py", "from bedplate import graphs"),
        ("libs/bedplate/novelty/x.py", ""),
    ],
)
def test_a_step_off_the_ladder_is_found(source_of: Any, path: str, line: str) -> None:
    (problem,) = _problems([source_of(path, line)], set())
    assert problem.startswith(path + ":")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("services/gateway/bedplate_gateway/runs.py", "from .app import build"),
        ("services/gateway/bedplate_gateway/app.py", "import asyncpg"),
        ("services/gateway/bedplate_gateway/assistants.py", "import asyncpg"),
        (
            "services/run-scheduler/bedplate_run_scheduler/sweeper.py",
            "from bedplate.graphs.checkpoint_tables import delete_thread",
        ),
        ("libs/bedplate/ledger/__init__.py", "from .runs import Runs"),
        ("libs/bedplate/kernel/retry.py", "from random import Random"),
        ("libs/bedplate/cli.py", "from bedplate.devstack import stack"),
    ],
)
def test_a_step_on_the_ladder_is_not(source_of: Any, path: str, line: str) -> None:
    assert _problems([source_of(path, line)], {"bedplate_gateway"}) == []


def test_a_second_module_with_a_driver_is_found(source_of: Any) -> None:
    folder = "services/gateway/bedplate_gateway"
    both = [source_of(f"{folder}/{name}.py", "import asyncpg") for name in ("one", "two")]
    assert len(_problems(both, {"bedplate_gateway"})) == 2


@pytest.mark.parametrize("line", ["at = datetime.now(UTC)", "rng = Random()"])
def test_a_clock_in_the_kernel_is_found(source_of: Any, line: str) -> None:
    assert _impure_calls(source_of("libs/bedplate/kernel/lease.py", line))
