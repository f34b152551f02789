"""What a graph is given for one attempt: its config, its input and its context, made of the stored
run.

The library reads ids from two places and copies scalars of `configurable` into every checkpoint's
metadata; here is the one place that knows which key has to stand where, and which a client may
never set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Send
from pydantic import BaseModel, ValidationError

from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.user import User
from bedplate.kernel.errors import Refused

# Keys of `configurable` and `context` that only the server sets.
SERVER_KEYS = frozenset(
    {
        "langgraph_auth_user",
        "langgraph_auth_user_id",
        "langgraph_auth_permissions",
        "langgraph_request_id",
        "__langsmith_project__",
        "__langsmith_example_id__",
        "__request_start_time_ms__",
        "__after_seconds__",
        "__otel_traceparent__",
        "__otel_tracestate__",
        "__dd_trace_headers__",
        "__pregel_node_finished",
        "__context_provided__",
    }
)
# Keys of metadata that only the server sets: checkpoints are found by them.
SERVER_METADATA_KEYS = frozenset(
    {"thread_id", "assistant_id", "run_id", "cron_id", "counters_since_delta_snapshot"}
)
# The library's own switches: with one of them a client could put its own checkpointer in place of
# ours.
_LIBRARY_PREFIX = "__pregel_"
_STRICT_RESUME = "__pregel_strict_resume"
_PASSED_ON = ("tags", "recursion_limit", "max_concurrency", "run_name")
_CHECKPOINT_KEYS = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")


def client_keys(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """`configurable` or `context` of a client, without the keys it may not set."""
    return {
        key: value
        for key, value in (given or {}).items()
        if key not in SERVER_KEYS and not key.startswith(_LIBRARY_PREFIX)
    }


def client_metadata(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Metadata of a client, without the keys it may not set."""
    return {key: value for key, value in (given or {}).items() if key not in SERVER_METADATA_KEYS}


def user_keys(user: User | None) -> dict[str, Any]:
    """What `configurable` says of who it is for; a client's own word on it does not count."""
    if user is None:
        return {}
    return {
        "langgraph_auth_user": user,
        "langgraph_auth_user_id": user.identity,
        "langgraph_auth_permissions": user.permissions,
        "user_id": user.identity,
    }


def run_config(
    config: Mapping[str, Any] | None,
    *,
    run_id: str,
    thread_id: str,
    assistant_id: str,
    graph_id: str,
    attempt: int,
    metadata: Mapping[str, Any] | None = None,
    user: User | None = None,
    request_id: str | None = None,
    continues: bool = False,
    is_strict: bool = False,
) -> RunnableConfig:
    """The config for attempt number `attempt` (from 1) of a run whose merged config is `config`.

    With `continues` the attempt goes on from what an earlier one saved: a checkpoint the run was
    forked from is left out then, or the fork would be made anew. `is_strict`: an answer to what is
    not asked is an error.
    """
    given = dict(config or {})
    configurable = client_keys(given.get("configurable"))
    for key in _CHECKPOINT_KEYS:
        if configurable.get(key) is None or (continues and key != "checkpoint_ns"):
            configurable.pop(key, None)
    configurable |= {
        "run_id": run_id,
        "thread_id": thread_id,
        "graph_id": graph_id,
        "assistant_id": assistant_id,
    }
    configurable |= user_keys(user)
    if is_strict:
        configurable[_STRICT_RESUME] = True
    if request_id is not None:
        configurable["langgraph_request_id"] = request_id
    ids = {"graph_id": graph_id, "assistant_id": assistant_id, "run_attempt": attempt}
    assembled: dict[str, Any] = {
        key: given[key] for key in _PASSED_ON if given.get(key) is not None
    }
    assembled |= {
        # In both places: checkpoints take it from `configurable`, the execution info from here.
        "run_id": UUID(run_id),
        "configurable": configurable,
        "metadata": client_metadata(given.get("metadata"))
        | client_metadata(metadata)
        | ids
        | library_versions(),
    }
    return cast("RunnableConfig", cast("object", assembled))


@cache
def _langgraph_version() -> str:
    return version("langgraph")


def library_versions() -> dict[str, str]:
    """What every checkpoint's metadata says about where it was made."""
    return {"langgraph_version": _langgraph_version(), "langgraph_host": "self-hosted"}


def graph_context(graph: AnyGraph, given: Mapping[str, Any] | None) -> Any:
    """`given` as the run's context for `graph`.

    What is given as `configurable` is mirrored into the context, so a dataclass gets only the
    fields it has. No context at all becomes one of defaults where the type allows that, else None.
    """
    context = client_keys(given)
    schema: Any = graph.context_schema
    if not isinstance(schema, type):
        return context or None
    if is_dataclass(schema):
        own = {field.name: field for field in fields(schema) if field.init}
        if not context:
            has_defaults = all(
                field.default is not MISSING or field.default_factory is not MISSING
                for field in own.values()
            )
            return {} if has_defaults else None
        return {key: value for key, value in context.items() if key in own}
    if not context and issubclass(schema, BaseModel):
        try:
            return schema()
        except ValidationError:
            return None
    return context or None


def to_input(given: Any, command: Mapping[str, Any] | None) -> Any:
    """What the graph starts with: the command if it asks for anything, else the input as it is."""
    if command is None:
        return given
    made = to_command(command, field="command")
    return given if made is None else made


def to_command(command: Mapping[str, Any], *, field: str) -> Command[Any] | None:
    """A client's command, or None if it asks for nothing. Raises Refused naming the part of
    `field`.

    `resume` may be false, 0 or empty: these are answers. Only null is none.
    """
    resume = command.get("resume")
    update = _update(command.get("update"), f"{field}.update")
    goto = _goto(command.get("goto"), f"{field}.goto")
    if resume is None and update is None and not goto:
        return None
    return Command(resume=resume, update=update, goto=goto)


def _update(update: Any, field: str) -> Any:
    if update is None or isinstance(update, dict):
        return cast("Any", update)
    if isinstance(update, list):
        pairs = cast("list[Any]", update)
        if all(_is_pair(pair) for pair in pairs):
            return [(pair[0], pair[1]) for pair in pairs]
    raise Refused(f"'{field}' must be an object or a list of [key, value] pairs.")


def _is_pair(pair: Any) -> bool:
    if not isinstance(pair, (list, tuple)):
        return False
    pair_ = cast("Sequence[Any]", pair)
    return len(pair_) == 2 and isinstance(pair_[0], str)


def _goto(goto: Any, field: str) -> Sequence[str | Send]:
    if goto is None:
        return ()
    if isinstance(goto, list):
        return [
            _target(one, f"{field}[{number}]") for number, one in enumerate(cast("list[Any]", goto))
        ]
    return [_target(goto, field)]


def _target(target: Any, field: str) -> str | Send:
    if isinstance(target, str) and target:
        return target
    if isinstance(target, dict):
        send = cast("dict[str, Any]", target)
        if isinstance(send.get("node"), str) and send["node"]:
            return Send(send["node"], send.get("input"))
    raise Refused(f"'{field}' must be a node's name or an object with 'node' and 'input'.")
