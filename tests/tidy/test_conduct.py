"""How code behaves: who starts tasks, what is logged, and what tests may not do."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

_EVENT = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
_MOCKS = re.compile(r"assert_(any_)?(not_)?(called|awaited)\w*|assert_has_(calls|awaits)")
# Each waits for what it starts: the set of tasks, the root task of a process, the one writer.
_OWNERS_OF_TASKS = {
    "libs/bedplate/chassis/tasks.py",
    "services/executor/bedplate_executor/worker.py",
    "libs/bedplate/graphs/committer.py",
}


def _last_name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _mentions_group(node: ast.AST | None) -> bool:
    return node is not None and "TaskGroup" in ast.unparse(node)


def _groups(source: Any) -> set[str]:
    """The names that hold a TaskGroup: what it starts, it also waits for."""
    names: set[str] = set()
    for node in source.nodes:
        match node:
            case ast.withitem(context_expr=made, optional_vars=ast.expr() as name):
                if _mentions_group(made):
                    names.add(_last_name(name))
            case ast.arg(arg=name, annotation=annotation):
                if _mentions_group(annotation):
                    names.add(name)
            case ast.AnnAssign(target=target, annotation=annotation):
                if _mentions_group(annotation):
                    names.add(_last_name(target))
            case ast.Assign(targets=[target], value=value):
                if isinstance(value, (ast.Call, ast.Await)) and _mentions_group(value):
                    names.add(_last_name(target))
            case _:
                pass
    return names


def _bare_tasks(source: Any) -> list[str]:
    # A test that loses a task fails by itself: an unawaited one is a warning, and so an error.
    if source.path in _OWNERS_OF_TASKS or source.is_in("tests"):
        return []
    if "create_task" not in source.text and "ensure_future" not in source.text:
        return []
    groups = _groups(source)
    problems: list[str] = []
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        called = _last_name(node.func)
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        is_owned = receiver is not None and _last_name(receiver) in groups
        if called == "ensure_future" or (called == "create_task" and not is_owned):
            problems.append(
                f"{source.path}:{node.lineno}: {called} without an owner: use a TaskGroup"
                " or bedplate.chassis.tasks.Tasks"
            )
    return problems


def _log_events(source: Any) -> list[str]:
    if not source.is_in("libs", "services"):
        return []
    problems: list[str] = []
    for node in source.nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=receiver, attr=level), args=args):
                if level not in _LEVELS or _last_name(receiver) not in ("log", "_log", "logger"):
                    continue
            case _:
                continue
        event = args[0].value if args and isinstance(args[0], ast.Constant) else None
        if not (isinstance(event, str) and _EVENT.fullmatch(event) and len(args) == 1):
            problems.append(
                f"{source.path}:{node.lineno}: a log event is one constant noun.participle,"
                f" the rest are fields: {ast.unparse(node)[:60]}"
            )
    return problems


def _imported(source: Any) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _is_ours(target: ast.expr, imported: dict[str, str]) -> bool:
    if isinstance(target, ast.Constant):
        return str(target.value).startswith("bedplate")
    root: ast.AST = target
    while isinstance(root, (ast.Attribute, ast.Call, ast.Subscript)):
        root = root.func if isinstance(root, ast.Call) else root.value
    # A local object is most often one of ours; a module of somebody else is named by its import.
    return imported.get(_last_name(root), "bedplate").startswith("bedplate")


def _hopes(source: Any) -> list[str]:
    """What a test may not do: mock our own code, or sleep in the hope that it suffices."""
    if not source.is_in("tests") or source.is_in("tests/graphs"):
        return []
    problems: list[str] = []
    imported = _imported(source)
    for node in source.nodes:
        at = f"{source.path}:{getattr(node, 'lineno', 0)}"
        match node:
            case ast.ImportFrom(module="unittest.mock") | ast.ImportFrom(module="mock"):
                problems.append(f"{at}: no mocks: use a fake that passes the conformance suite")
            case ast.Import(names=names) if any("mock" in alias.name for alias in names):
                problems.append(f"{at}: no mocks: use a fake that passes the conformance suite")
            case ast.Attribute(attr=attr) if _MOCKS.fullmatch(attr):
                problems.append(f"{at}: {attr} asserts how, not what: assert the fact itself")
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[target, *_]):
                if _is_ours(target, imported):
                    problems.append(f"{at}: no patching of our own code: give it as an argument")
            case ast.Call(args=[ast.Constant(value=0)]):
                continue  # sleep(0) waits for nothing: it lets others run
            case ast.Call(func=func) if _last_name(func) == "sleep":
                problems.append(f"{at}: no sleep: wait for the fact with eventually(…)")
            case _:
                pass
    return problems


@pytest.mark.parametrize("check", [_bare_tasks, _log_events, _hopes])
def test_code_keeps_its_manners(modules: list[Any], hold: Any, check: Any) -> None:
    hold([problem for source in modules for problem in check(source)])


@pytest.mark.parametrize(
    "text",
    [
        "asyncio.create_task(f())",
        "create_task(f())",
        "asyncio.get_running_loop().create_task(f())",
        "asyncio.ensure_future(f())",
        "async def g(loop):\n    loop.create_task(f())",
    ],
)
def test_a_task_without_an_owner_is_found(source_of: Any, text: str) -> None:
    assert len(_bare_tasks(source_of("libs/bedplate/x.py", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "async def g():\n  async with asyncio.TaskGroup() as group:\n    group.create_task(f())",
        "async def g(group: asyncio.TaskGroup):\n    group.create_task(f())",
        "class A:\n  group: TaskGroup\n  def g(self):\n    self.group.create_task(f())",
    ],
)
def test_a_task_of_a_group_has_an_owner(source_of: Any, text: str) -> None:
    assert _bare_tasks(source_of("libs/bedplate/x.py", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        'log.info("run created")',
        'log.info(f"run.{what}")',
        'log.info("run.created", run_id)',
        'self._log.warning("Run.created")',
        "log.error(error)",
        'log.error("failed")',
    ],
)
def test_a_log_event_that_is_no_fact_is_found(source_of: Any, text: str) -> None:
    assert len(_log_events(source_of("libs/bedplate/x.py", text))) == 1
    assert not _log_events(source_of("libs/bedplate/x.py", 'log.info("run.created", run_id=1)'))


@pytest.mark.parametrize(
    "text",
    [
        "from unittest.mock import AsyncMock",
        "import unittest.mock",
        "run.assert_called_once_with(1)",
        "await asyncio.sleep(1)",
        "time.sleep(1)",
        'monkeypatch.setattr("bedplate.bus.broker.connect", f)',
        "from bedplate.bus import broker\nmonkeypatch.setattr(broker, 'connect', f)",
        "monkeypatch.setattr(ledger, 'finish', f)",
    ],
)
def test_a_test_that_hopes_is_found(source_of: Any, text: str) -> None:
    assert len(_hopes(source_of("tests/unit/test_x.py", text))) == 1


def test_a_test_may_change_what_is_not_ours(source_of: Any) -> None:
    text = "import sys\nmonkeypatch.setattr(sys, 'argv', [])\nmonkeypatch.setenv('A', 'b')"
    assert _hopes(source_of("tests/unit/test_x.py", text)) == []
