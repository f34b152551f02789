"""Lifecycle events of a run's subgraphs and sub-agents, found out from the tasks that run them.

A subgraph begins with the first thing it does and ends with its parent's task. What started it is
in that task: the tool call it executes, the `Send` or the edge that scheduled it. Where the library
does not say which of several nodes it was, no cause is given instead of a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from bedplate.graphs.failures import shown_error
from bedplate.graphs.protocol_lines import Namespace, Part, line, shown, synthetic_id
from bedplate.graphs.wire import WireEvent

State = Literal["running", "started", "completed", "failed", "interrupted"]

_START = "__start__"
_PUSH = "__pregel_push"
# These come before the subgraph's first task, which knows its name (see `protocol_order`).
_TOO_EARLY = frozenset({"values", "checkpoints"})


@dataclass
class _Task:
    name: str
    cause: dict[str, str] | None


@dataclass
class _Subgraph:
    name: str
    parent: Namespace
    task_id: str


class Lifecycles:
    """`begun` and `ended` for every part as the library sends it, `swept` at the end."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._tasks: dict[str, _Task] = {}
        self._known: set[Namespace] = {()}
        self._open: dict[Namespace, _Subgraph] = {}
        # Nodes by namespace: those whose step is over, and those of the step before it.
        self._finished: dict[Namespace, list[str]] = {}
        self._before: dict[Namespace, list[str]] = {}

    def running(self, graph_name: str) -> WireEvent:
        """The root's first event; its last one is derived from the run's end."""
        return self._event((), "running", {"graph_name": graph_name})

    def begun(self, part: Part) -> Iterator[WireEvent]:
        """`started` for each graph that `part` is the first to tell of; learns from `part`."""
        if part.mode not in _TOO_EARLY and part.namespace not in self._known:
            metadata = part.data.get("metadata") if part.mode == "tasks" else None
            yield from self.opened(part.namespace, metadata)
        if part.mode == "tasks" and "result" not in part.data:
            self._scheduled(part)
        elif part.mode == "checkpoints":
            self._stepped(part)

    def opened(
        self, namespace: Namespace, metadata: Mapping[str, Any] | None = None
    ) -> Iterator[WireEvent]:
        for depth in range(1, len(namespace) + 1):
            each = namespace[:depth]
            if each in self._known:
                continue
            self._known.add(each)
            yield self._started(each, (metadata or {}) if each == namespace else {})

    def ended(self, part: Part) -> Iterator[WireEvent]:
        """The end of what ran in the task whose result `part` is."""
        task_id = part.data.get("id")
        task = self._tasks.pop(task_id, None)
        if task is not None:
            self._finished.setdefault(part.namespace, []).append(task.name)
        error = part.data.get("error")
        state: State = "failed" if error else "completed"
        if part.data.get("interrupts"):
            state, error = "interrupted", None
        over = [
            namespace
            for namespace, subgraph in self._open.items()
            if subgraph.parent == part.namespace and subgraph.task_id == task_id
        ]
        for namespace in reversed(over):
            yield self._over(namespace, state, error)

    def swept(self, state: State, error: BaseException | None = None) -> Iterator[WireEvent]:
        """The end of whatever is still open, innermost first."""
        for namespace in sorted(self._open, key=len, reverse=True):
            yield self._over(namespace, state, error)

    def _scheduled(self, part: Part) -> None:
        task_id, given = part.data["id"], part.data.get("input")
        if (call_id := _tool_call_id(given)) is not None:
            cause: dict[str, str] | None = {"type": "toolCall", "tool_call_id": call_id}
        else:
            before = self._before.get(part.namespace, [])
            kind = "send" if _PUSH in part.data.get("triggers", ()) else "edge"
            cause = {"type": kind, "from_node": before[0]} if len(before) == 1 else None
        self._tasks[task_id] = _Task(part.data["name"], cause)

    def _stepped(self, part: Part) -> None:
        finished = self._finished.pop(part.namespace, None)
        if part.data["metadata"].get("source") == "input":
            self._before[part.namespace] = [_START]
        elif finished:
            self._before[part.namespace] = finished

    def _started(self, namespace: Namespace, metadata: Mapping[str, Any]) -> WireEvent:
        parent, segment = _parent_of(namespace)
        node, _, task_id = segment.partition(":")
        # An agent has a name of its own; any other graph is called by the node it runs in.
        name = metadata.get("lc_agent_name") or node
        self._open[namespace] = _Subgraph(name, parent, task_id)
        about: dict[str, Any] = {"namespace": namespace, "graph_name": name}
        if task_id:
            about["trigger_call_id"] = task_id
        task = self._tasks.get(task_id)
        if task is not None and task.cause is not None:
            about["cause"] = task.cause
        return self._event(namespace, "started", about)

    def _over(self, namespace: Namespace, state: State, error: Any) -> WireEvent:
        subgraph = self._open.pop(namespace)
        about: dict[str, Any] = {"namespace": namespace, "graph_name": subgraph.name}
        if state == "failed" and error is not None:
            is_raised = isinstance(error, BaseException)
            about["error"] = shown_error(error)["message"] if is_raised else str(error)
        self._before.pop(namespace, None)
        self._finished.pop(namespace, None)
        return self._event(namespace, state, about)

    def _event(self, namespace: Namespace, state: State, about: dict[str, Any]) -> WireEvent:
        return line(
            "lifecycle",
            namespace,
            shown({"event": state, **about}),
            event_id=synthetic_id(self._run_id, "lc", namespace, state),
        )


def _parent_of(namespace: Namespace) -> tuple[Namespace, str]:
    """Where the task runs that `namespace` belongs to, and its segment `node:task id`.

    A second subgraph in the same task has a number for its last segment.
    """
    for place in range(len(namespace) - 1, -1, -1):
        if ":" in namespace[place]:
            return namespace[:place], namespace[place]
    return namespace[:-1], namespace[-1]


def _tool_call_id(given: Any) -> str | None:
    """The tool call that a task with this input executes.

    Source: `langgraph.stream.transformers` (a call with its context, or a list of calls).
    """
    if isinstance(given, dict):
        calls: list[Any] = [cast("dict[str, Any]", given).get("tool_call")]
    elif isinstance(given, list):
        calls = cast("list[Any]", given)
    else:
        return None
    for call in calls:
        if isinstance(call, dict) and {"name", "args", "id"} <= call.keys():
            call_id = cast("dict[str, Any]", call)["id"]
            if isinstance(call_id, str):
                return call_id
    return None
