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
from bedplate.graphs.library import CheckpointTuple, RunControl, RunnableConfig
from bedplate.graphs.modes import RunStream, stream_graph
from bedplate.graphs.protocol import protocol_stream
from bedplate.graphs.saver import PostgresSaver
from bedplate.ledger import Claimed

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


async def work_of(claimed: Claimed, saver: PostgresSaver) -> Work:
    """Raises `Refused` for an input or command that no graph can take."""
    kwargs = cast("dict[str, Any]", from_json(claimed.kwargs))
    run_id, thread_id = str(claimed.run_id), str(claimed.thread_id)
    thread = thread_config(thread_id)
    continues = False
    if claimed.attempt > 1:
        newest = await saver.aget_tuple(thread)
        continues = newest is not None and goes_on(newest, run_id=run_id, kwargs=kwargs)
    config = dict(cast("dict[str, Any]", kwargs.get("config") or {}))
    if checkpoint := kwargs.get("checkpoint"):
        config["configurable"] = {**(config.get("configurable") or {}), **checkpoint}
    request_id = (config.get("configurable") or {}).get("langgraph_request_id")
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
            request_id=request_id,
            continues=continues,
        ),
        thread=thread,
        context=kwargs.get("context") or {},
        modes=kwargs.get("stream_mode") or ["values"],
        subgraphs=bool(kwargs.get("subgraphs")),
        durability=_durability(kwargs),
        interrupt_before=kwargs.get("interrupt_before"),
        interrupt_after=kwargs.get("interrupt_after"),
        webhook=kwargs.get("webhook"),
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
    command = kwargs.get("command")
    if not command or command.get("resume") is None:
        return False
    return any(
        task_id == _NULL_TASK_ID and channel == _RESUME and value == command["resume"]
        for task_id, channel, value in newest.pending_writes or ()
    )


def _durability(kwargs: Mapping[str, Any]) -> Literal["sync", "async", "exit"]:
    if given := kwargs.get("durability"):
        return given
    return "exit" if kwargs.get("checkpoint_during") is False else "async"
