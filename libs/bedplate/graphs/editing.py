"""Edits of a thread's state: values written as if a node had returned them.

What is refused names what the client sent: the field, or the key of the state whose reducer could
not take its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.channels.base import BaseChannel
from langgraph.errors import EmptyInputError, InvalidUpdateError
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, StateUpdate

from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.host import to_command
from bedplate.graphs.modes import short_checkpoint
from bedplate.graphs.wire import dumps
from bedplate.kernel.errors import Refused

# What reducers and writers raise over values they cannot take. Anything else is not about the
# values.
_BAD_VALUES = (
    InvalidUpdateError,
    EmptyInputError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
)


async def update_state(
    graph: AnyGraph, config: RunnableConfig, values: Any, *, as_node: str | None = None
) -> bytes:
    """Write `values` as if the node `as_node` had returned them; answers where they are now.

    A list of objects is written in order, in one step. Raises Refused, with the library's text, for
    a node that does not exist or values it cannot take.
    """
    written = _as_returned(graph, values, "values")
    try:
        updated = await graph.aupdate_state(config, written, as_node)
    except _BAD_VALUES as error:
        raise Refused(_reason(error, "values")) from error
    return _updated(updated)


async def bulk_update(
    graph: AnyGraph, config: RunnableConfig, supersteps: Sequence[Mapping[str, Any]]
) -> bytes:
    """Write `[{updates: [{values?, command?, as_node}]}]` in order, one checkpoint per superstep.

    Raises Refused naming the entry that is wrong; what was written before it stays.
    """
    steps = [
        [
            _state_update(graph, update, f"supersteps[{number}].updates[{place}]")
            for place, update in enumerate(_updates(step, f"supersteps[{number}]"))
        ]
        for number, step in enumerate(supersteps)
    ]
    if not steps:
        raise Refused("'supersteps' must not be empty.")
    try:
        updated = await graph.abulk_update_state(config, steps)
    except _BAD_VALUES as error:
        raise Refused(_reason(error, "supersteps")) from error
    return _updated(updated)


def _as_returned(graph: AnyGraph, values: Any, field: str) -> Any:
    """A list of objects in the form in which a node may return several updates.

    Only where the state has keys: that of a message list or of a function may be a list itself.
    """
    if not isinstance(values, list) or not _has_keys(graph):
        return values
    parts = cast("list[Any]", values)
    for number, part in enumerate(parts):
        if not isinstance(part, Mapping):
            raise Refused(f"'{field}[{number}]' must be an object.")
    return [Command(update=dict(part)) for part in parts] or {}


def _has_keys(graph: AnyGraph) -> bool:
    return isinstance(graph, CompiledStateGraph) and "__root__" not in graph.channels


def _updates(step: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    updates: Any = step.get("updates")
    if not isinstance(updates, list) or not updates:
        raise Refused(f"'{field}.updates' must be a list with at least one update.")
    return cast("list[Mapping[str, Any]]", updates)


def _state_update(graph: AnyGraph, update: Mapping[str, Any], field: str) -> StateUpdate:
    as_node = update.get("as_node")
    if not isinstance(as_node, str):
        raise Refused(f"'{field}.as_node' must be the name of a node.")
    command: Any = update.get("command")
    if isinstance(command, Mapping):
        made = to_command(cast("Mapping[str, Any]", command), field=f"{field}.command")
        return StateUpdate(cast("Any", made), as_node)
    return StateUpdate(_as_returned(graph, update.get("values"), f"{field}.values"), as_node)


def _updated(config: RunnableConfig) -> bytes:
    checkpoint = short_checkpoint(config) or {}
    return dumps(
        {
            "checkpoint": checkpoint,
            "configurable": checkpoint,
            "checkpoint_id": checkpoint.get("checkpoint_id"),
        }
    )


def _reason(error: Exception, field: str) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    key = _refusing_key(error.__traceback__)
    return text if key is None else f"'{field}': the state's key '{key}' refused them: {text}"


def _refusing_key(trace: TracebackType | None) -> str | None:
    """The key of the state whose reducer raised: the library's text leaves it out."""
    key: str | None = None
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, BaseChannel):
            key = cast("BaseChannel[Any, Any, Any]", owner).key or None
        trace = trace.tb_next
    return key
