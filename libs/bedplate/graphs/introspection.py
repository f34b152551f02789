"""Reads of a thread that need the graph itself: its state and its history.

State is always read through the graph and never from rows: a delta channel stores no value, pending
writes belong to the state, and only the graph knows what is next. Everything answers with JSON as
clients see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, PregelTask, StateSnapshot

from bedplate.graphs.checkpoint_rows import has_kept_parent
from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.modes import RunStream, short_checkpoint
from bedplate.graphs.wire import dumps, text_of
from bedplate.kernel.errors import Refused

HISTORY_LIMIT_MAX = 1000
# Bookkeeping of delta channels: of no use outside, and clients would send it back as metadata.
_HIDDEN_METADATA = frozenset({"counters_since_delta_snapshot"})


@dataclass(frozen=True)
class Settled:
    """What a thread's row shows when a run is over or its state was edited.

    `values` and `interrupts` are JSON, `interrupts` as `{task_id: [{id, value, response_schema}]}`.
    `error` is the `repr` of the first failure among the tasks that are to be retried.
    """

    values: bytes
    next: tuple[str, ...]
    interrupts: bytes
    error: str | None = None

    @property
    def status(self) -> Literal["idle", "interrupted"]:
        return "interrupted" if self.next else "idle"


def thread_config(
    thread_id: str,
    *,
    checkpoint: Mapping[str, Any] | None = None,
    checkpoint_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> RunnableConfig:
    """A config for the functions below: a thread's newest state, or the one at a checkpoint.

    `checkpoint_id` counts before the one in `checkpoint`. Raises Refused for an id that is no UUID.
    """
    given = checkpoint or {}
    configurable: dict[str, Any] = {
        "thread_id": thread_id,
        "checkpoint_ns": _text(given.get("checkpoint_ns") or "", "checkpoint.checkpoint_ns"),
    }
    wanted = checkpoint_id or given.get("checkpoint_id")
    if wanted is not None:
        configurable["checkpoint_id"] = _checkpoint_id(wanted, "checkpoint_id")
    if given.get("checkpoint_map"):
        configurable["checkpoint_map"] = given["checkpoint_map"]
    return cast("RunnableConfig", {"configurable": configurable, "metadata": dict(metadata or {})})


async def thread_state(
    graph: AnyGraph, config: RunnableConfig, *, subgraphs: bool = False
) -> bytes:
    """The ThreadState at `config`. An unknown checkpoint has an empty state, as an empty thread.

    Raises Refused for the namespace of a subgraph that the graph does not have.
    """
    snapshot = await graph.aget_state(config, subgraphs=subgraphs)
    if snapshot.metadata is None:
        await _check_namespace(graph, config)
    return dumps(_state(snapshot))


async def thread_history(
    graph: AnyGraph,
    config: RunnableConfig,
    *,
    limit: int = 1,
    before: str | Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """ThreadStates, newest first: at most `limit` (1 to 1000), only older than the checkpoint
    `before`.

    `before` is an id, a Checkpoint or a config around one, as the SDKs send it. Every key of
    `metadata` must be in a checkpoint's metadata with an equal value. Raises Refused for a wrong
    argument.
    """
    if not 1 <= limit <= HISTORY_LIMIT_MAX:
        raise Refused(f"'limit' must be between 1 and {HISTORY_LIMIT_MAX}.")
    found = graph.aget_state_history(
        config,
        filter=dict(metadata) if metadata else None,
        before=_before(before, config),
        limit=limit,
    )
    states = [_state(snapshot) async for snapshot in found]
    if not states:
        await _check_namespace(graph, config)
    return dumps(states)


async def _check_namespace(graph: AnyGraph, config: RunnableConfig) -> None:
    """Where nothing is saved there must at least be such a subgraph. One that a tool calls is known
    by what it has saved alone."""
    given: str = config.get("configurable", {}).get("checkpoint_ns", "")
    # Without the ids of tasks and the counters of repeated calls, as subgraphs are declared.
    parts = [part.partition(":")[0] for part in given.split("|") if not part.isdigit()]
    if not given:
        return
    async for _ in graph.aget_subgraphs(namespace="|".join(parts), recurse=True):
        return
    raise Refused(f"'checkpoint.checkpoint_ns': the graph has no subgraph '{'|'.join(parts)}'.")


async def settled(graph: AnyGraph, config: RunnableConfig) -> Settled:
    """What the row of the thread shows now. `config` must not name a checkpoint."""
    snapshot = await graph.aget_state(config)
    interrupts = {
        task.id: _interrupts(task.interrupts) for task in snapshot.tasks if task.interrupts
    }
    failures = [error for task in snapshot.tasks if (error := _error(task)) is not None]
    return Settled(
        values=dumps(snapshot.values),
        next=snapshot.next,
        interrupts=dumps(interrupts),
        error=failures[0] if failures else None,
    )


async def settled_after(stream: RunStream, graph: AnyGraph, config: RunnableConfig) -> Settled:
    """The same at the end of a run. One that ran to its end is known from its stream: nothing is
    read.
    """
    if stream.is_finished and stream.values is not None:
        return Settled(values=stream.values, next=(), interrupts=b"{}")
    return await settled(graph, config)


def _state(snapshot: StateSnapshot) -> dict[str, Any]:
    exists = snapshot.metadata is not None
    checkpoint = short_checkpoint(snapshot.config) or {}
    if not exists:
        checkpoint.pop("checkpoint_id", None)
    has_parent = exists and has_kept_parent(snapshot.parent_config)
    parent = short_checkpoint(snapshot.parent_config) if has_parent else None
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": _metadata(snapshot) if exists else {},
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": _interrupts(snapshot.interrupts),
        "checkpoint_id": checkpoint.get("checkpoint_id"),
        "parent_checkpoint_id": None if parent is None else parent.get("checkpoint_id"),
    }


def _metadata(snapshot: StateSnapshot) -> dict[str, Any]:
    saved = cast("dict[str, Any]", snapshot.metadata)
    shown = {key: value for key, value in saved.items() if key not in _HIDDEN_METADATA}
    # The library leaves it out of what it saves, since the row has it in a column of its own.
    return {"thread_id": snapshot.config.get("configurable", {}).get("thread_id"), **shown}


def _task(task: PregelTask) -> dict[str, Any]:
    checkpoint, state = None, None
    if isinstance(task.state, StateSnapshot):
        checkpoint, state = short_checkpoint(task.state.config), _state(task.state)
    elif task.state is not None:
        checkpoint = short_checkpoint(task.state)
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": _error(task),
        "interrupts": _interrupts(task.interrupts),
        "checkpoint": checkpoint,
        "state": state,
        "result": task.result,
    }


def _error(task: PregelTask) -> str | None:
    # Read back from a checkpoint an exception is already the text it was saved as.
    error: Any = task.error
    return error if error is None or isinstance(error, str) else text_of(error)


def _interrupts(interrupts: Sequence[Interrupt]) -> list[dict[str, Any]]:
    return [
        {"id": one.id, "value": one.value, "response_schema": one.response_schema}
        for one in interrupts
    ]


def _before(
    before: str | Mapping[str, Any] | None, config: RunnableConfig
) -> RunnableConfig | None:
    if before is None:
        return None
    wanted: Any = before
    if isinstance(wanted, Mapping):
        given = cast("Mapping[str, Any]", wanted)
        wanted = given.get("configurable", given)
        wanted = cast("Mapping[str, Any]", wanted).get("checkpoint_id")
        if wanted is None:
            return None
    configurable = {
        "thread_id": config.get("configurable", {}).get("thread_id"),
        "checkpoint_id": _checkpoint_id(wanted, "before"),
    }
    return {"configurable": configurable}


def _checkpoint_id(given: Any, field: str) -> str:
    try:
        UUID(_text(given, field))
    except ValueError:
        raise Refused(f"'{field}' must be the UUID of a checkpoint.") from None
    return given


def _text(given: Any, field: str) -> str:
    if not isinstance(given, str):
        raise Refused(f"'{field}' must be a text.")
    return given
