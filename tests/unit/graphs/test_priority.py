from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bedplate.graphs.config import load_config
from bedplate.graphs.priority import Assigned, PriorityHandler, PriorityLoadError, assigned_of
from bedplate.kernel.errors import Refused

Project = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore:The Priority API is in beta")

CONTEXT: dict[str, Any] = {
    "thread_id": "t",
    "thread_metadata": {},
    "assistant_id": "a",
    "graph_id": "g",
    "assistant_metadata": {},
    "run_metadata": {},
    "cron_id": None,
    "user": None,
}
ASSIGN = """
from langgraph_sdk import Priority

priority = Priority()
bare = Priority()


@priority.assign
async def assign(ctx):
    if ctx.run_metadata.get("fails"):
        raise RuntimeError("the handler fails")
    group = ctx.user.identity if "rich" in ctx.permissions else None
    return {"priority": ctx.run_metadata.get("priority"), "fairness_group": group}
"""


def loaded(project: Project, block: Any) -> PriorityHandler | None:
    graphs = {"g": "./graph.py:graph"}
    files = {"graph.py": "", "order.py": ASSIGN, "broken.py": "import nothing_like_this"}
    return PriorityHandler.load(
        load_config(project({"graphs": graphs, "priority": block}, **files))
    )


async def test_each_run_is_asked_for_and_one_failure_is_its_own(project: Project) -> None:
    handler = loaded(project, {"path": "./order.py:priority"})
    assert handler is not None
    rich = {"identity": "u", "permissions": ["rich"]}
    asked = [
        CONTEXT | {"run_metadata": {"priority": -3}},
        CONTEXT | {"run_metadata": {"fails": True}},
        CONTEXT | {"user": rich},
        CONTEXT | {"run_metadata": {"priority": 9}},
    ]
    assert await handler.assigned(asked) == [Assigned(-3), None, Assigned(0, "u"), None]


def test_a_project_without_a_handler_is_asked_nothing(project: Project) -> None:
    assert loaded(project, None) is None


@pytest.mark.parametrize(
    ("block", "error", "words"),
    [
        ({"path": 7}, Refused, "'priority.path' must be a text"),
        ({"path": "order"}, Refused, "'priority.path'"),
        ({"path": "./gone.py:priority"}, Refused, "gone.py"),
        ({"path": "./order.py:nothing"}, PriorityLoadError, "no attribute 'nothing'"),
        ({"path": "./order.py:assign"}, PriorityLoadError, "is a function; it must be"),
        ({"path": "./order.py:bare"}, PriorityLoadError, "registered by @assign"),
        ({"path": "./broken.py:priority"}, PriorityLoadError, "nothing_like_this"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_refused_by_name(
    project: Project, block: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        loaded(project, block)


@pytest.mark.parametrize(
    ("answer", "assigned"),
    [
        (None, Assigned(0, "default")),
        ({}, Assigned(0, "default")),
        ({"priority": None, "fairness_group": ""}, Assigned(0, "default")),
        ({"priority": -5, "fairness_group": "g" * 256}, Assigned(-5, "g" * 256)),
        ({"priority": 5, "unknown": 1}, Assigned(5, "default")),
    ],
)
def test_what_is_left_out_has_its_default(answer: Any, assigned: Assigned) -> None:
    assert assigned_of(answer) == assigned


@pytest.mark.parametrize(
    "answer",
    [
        *(7, [], "high", {"priority": 6}, {"priority": -6}, {"priority": True}, {"priority": 1.0}),
        *({"priority": "1"}, {"fairness_group": "g" * 257}, {"fairness_group": 7}),
        *({"fairness_group": "a\x00"}, {"fairness_group": "\ud800"}),
    ],
)
def test_what_is_no_setting_is_an_error(answer: Any) -> None:
    with pytest.raises(ValueError, match=r"priority|fairness_group|settings"):
        assigned_of(answer)
