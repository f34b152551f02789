"""What an attempt hands to its graph, made of the stored run and of what an earlier attempt
saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic_core import from_json

from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.host import graph_context, run_config, to_input
from bedplate.graphs.introspection import thread_config
from bedplate.graphs.library import (
    CheckpointTuple,
    EmptyInputError,
    RunControl,
    RunnableConfig,
    UnknownInterruptError,
)
from bedplate.graphs.modes import RunStream, stream_graph
from bedplate.graphs.protocol import protocol_stream
from bedplate.graphs.user import User
from bedplate.kernel.errors import Refused
from bedplate.ledger import Claimed

from .keeping import Saver

# langgraph's names for a resume value that is not yet bound to a task.
_RESUME = "__resume__"
_NULL_TASK_ID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Work:
    """How the graph is to be streamed, and `thread`: the config of the thread's newest state."""

    run_id: str
    is_first_attempt: bool
    is_event_streaming: bool
    """Told in the event-streaming protocol (v2), beside the stream modes."""
    graph_input: Any
    config: RunnableConfig
    thread: RunnableConfig
    context: Mapping[str, Any]
    modes: Sequence[str]
    subgraphs: bool
    durability: Literal["sync", "async", "exit"]
    interrupt_before: Any
    interrupt_after: Any
    webhook: str | None
    user: User | None

    def context_for(self, graph: AnyGraph) -> Any:
        return graph_context(graph, self.context)

    def stream(self, graph: AnyGraph, *, control: RunControl) -> RunStream:
        if self.is_event_streaming:
            return protocol_stream(
                graph,
                self.graph_input,
                self.config,
                run_id=self.run_id,
                is_first_attempt=self.is_first_attempt,
                context=self.context_for(graph),
                durability=self.durability,
                interrupt_before=self.interrupt_before,
                interrupt_after=self.interrupt_after,
                control=control,
                modes=self.modes,
            )
        return stream_graph(
            graph,
            self.graph_input,
            self.config,
            context=self.context_for(graph),
            modes=self.modes,
            subgraphs=self.subgraphs,
            durability=self.durability,
            interrupt_before=self.interrupt_before,
            interrupt_after=self.interrupt_after,
            control=control,
        )


async def work_of(claimed: Claimed, saver: Saver) -> Work:
    """Raises `Refused` for an input or command that no graph can take, `EmptyInputError` for an
    answer where nothing is to go on."""
    kwargs = cast("dict[str, Any]", from_json(claimed.kwargs))
    run_id, thread_id = str(claimed.run_id), str(claimed.thread_id)
    thread = thread_config(thread_id)
    continues = False
    if claimed.attempt > 1:
        newest = await saver.aget_tuple(thread)
        continues = newest is not None and goes_on(newest, run_id=run_id, kwargs=kwargs)
    config = dict(cast("dict[str, Any]", kwargs.get("config") or {}))
    checkpoint = kwargs.get("checkpoint") or {}
    if not continues and _answers(kwargs):
        await _check_resumable(saver, thread_id, checkpoint)
    if checkpoint:
        config["configurable"] = {**(config.get("configurable") or {}), **checkpoint}
    request_id = (config.get("configurable") or {}).get("langgraph_request_id")
    user = None if claimed.user is None else User(from_json(claimed.user))
    return Work(
        run_id=run_id,
        is_first_attempt=claimed.attempt == 1,
        is_event_streaming=kwargs.get("event_streaming") == "v2",
        graph_input=None if continues else to_input(kwargs.get("input"), kwargs.get("command")),
        config=run_config(
            config,
            run_id=run_id,
            thread_id=thread_id,
            assistant_id=str(claimed.assistant_id),
            graph_id=claimed.graph_id,
            attempt=claimed.attempt,
            metadata=from_json(claimed.metadata),
            user=user,
            request_id=request_id,
            continues=continues,
            is_strict=await _is_strict(claimed, kwargs, saver),
        ),
        thread=thread,
        context=kwargs.get("context") or {},
        modes=kwargs.get("stream_mode") or ["values"],
        subgraphs=bool(kwargs.get("subgraphs")),
        durability=_durability(kwargs),
        interrupt_before=kwargs.get("interrupt_before"),
        interrupt_after=kwargs.get("interrupt_after"),
        webhook=kwargs.get("webhook"),
        user=user,
    )


def goes_on(newest: CheckpointTuple, *, run_id: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether an earlier attempt of this run already put its input into the thread's newest
    checkpoint.

    Then the graph goes on from there (input None); otherwise the input or command is given again. A
    resume value is put into the checkpoint of the run before, without the run's id; giving it twice
    could answer a second question with it.
    """
    if newest.metadata.get("run_id") == run_id:
        return True
    return _answers(kwargs) and any(
        task_id == _NULL_TASK_ID and channel == _RESUME and value == kwargs["command"]["resume"]
        for task_id, channel, value in newest.pending_writes or ()
    )


def _answers(kwargs: Mapping[str, Any]) -> bool:
    return (kwargs.get("command") or {}).get("resume") is not None


async def _check_resumable(saver: Saver, thread_id: str, checkpoint: Mapping[str, Any]) -> None:
    """Without a state to go on from the library would take the answer for an input."""
    # A place inside a subgraph is one in the newest state.
    place = {} if checkpoint.get("checkpoint_ns") else checkpoint
    if await saver.aget_tuple(thread_config(thread_id, checkpoint=place)) is None:
        raise EmptyInputError(
            "There is nothing to resume: the thread has no state yet, or none at this checkpoint."
            " Start it with an input."
        )


async def _is_strict(claimed: Claimed, kwargs: Mapping[str, Any], saver: Saver) -> bool:
    """Whether the library is to refuse answers to what is not asked. Not again when an earlier
    attempt gave some of them: they were asked for, and are not any more."""
    if not kwargs.get("strict_resume"):
        return False
    if UnknownInterruptError is None:
        raise Refused("strict_resume: the project's langgraph does not know it; update langgraph.")
    return claimed.attempt == 1 or not await saver.has_written_before(str(claimed.run_id))


def _durability(kwargs: Mapping[str, Any]) -> Literal["sync", "async", "exit"]:
    if given := kwargs.get("durability"):
        return given
    return "exit" if kwargs.get("checkpoint_during") is False else "async"
