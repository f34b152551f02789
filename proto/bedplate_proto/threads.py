"""Orders about threads, and the reads that need a graph."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from .envelope import Message
from .vocabulary import TtlStrategy


class ThreadTtl(Message):
    """How long a thread lives from its last update, and what becomes of it then. `minutes` none:
    for ever."""

    minutes: float | None = None
    strategy: TtlStrategy = TtlStrategy.DELETE


FOR_EVER = ThreadTtl()


class DeleteThread(Message):
    """Removes the thread, its runs and checkpoints. A running run is stopped: its next write is
    refused."""

    tenant: str
    thread_id: UUID


class CopyThread(Message):
    tenant: str
    thread_id: UUID
    copy_id: UUID
    metadata: str = Field(default="{}", description="JSON text, merged into the copy's, shallow.")


class PruneThreads(Message):
    """Delete these threads; unknown ones are skipped. Answer: how many there were."""

    tenant: str
    thread_ids: list[UUID]


class PruneAnswer(Message):
    pruned_count: int


class Nothing(Message):
    """The answer when there is nothing to say."""


class GraphAsk(Message):
    """What every question to a graph carries: which graph, and the config a factory may look at."""

    tenant: str
    graph_id: str
    assistant_id: UUID | None = None
    config: dict[str, Any] = {}
    context: dict[str, Any] = {}
    user: dict[str, Any] | None = Field(
        default=None, description="Who asks, as authentication told it."
    )
    encryption_context: dict[str, Any] | None = Field(
        default=None, description="What the project's encryption handlers are told of what is kept."
    )


class ReadState(GraphAsk):
    """State of a thread. `checkpoint` empty: the newest."""

    thread_id: UUID
    checkpoint: dict[str, Any] = {}
    subgraphs: bool = False


class ReadHistory(GraphAsk):
    thread_id: UUID
    limit: int = Field(ge=1, le=1000)
    before: str | dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: dict[str, Any] = {}


class UpdateState(GraphAsk):
    thread_id: UUID
    values: Any = None
    as_node: str | None = None
    checkpoint: dict[str, Any] = {}


class PatchState(GraphAsk):
    """Merge `metadata` key by key into that of the newest checkpoint."""

    thread_id: UUID
    metadata: dict[str, Any]


class BulkUpdateState(GraphAsk):
    """`supersteps`: `[{updates: [{values | command, as_node}]}]`, one checkpoint each."""

    thread_id: UUID
    supersteps: list[dict[str, Any]]


class ForgetRun(GraphAsk):
    """Remove what a finished run saved, and its row; the thread shows the state before it."""

    thread_id: UUID
    run_id: UUID


class KeepLatest(GraphAsk):
    """Remove all checkpoints of a thread but the newest."""

    thread_ids: list[UUID]


class CopyCheckpoints(Message):
    """Of a checkpointer that only executors can reach: `copy_id` becomes as `thread_id` is."""

    tenant: str
    thread_id: UUID
    copy_id: UUID


class DrawGraph(GraphAsk):
    xray: bool | int = False


class ReadSchemas(GraphAsk):
    pass


class ReadSubgraphs(GraphAsk):
    namespace: str | None = None
    recurse: bool = False


class GraphDescription(Message):
    graph_id: str
    name: str
    description: str | None = None


class RegisterGraphs(Message):
    """Order from an executor to the gateways: these graphs can be run; each gets its system
    assistant."""

    tenant: str
    graphs: list[GraphDescription]


class GatewayPoke(Message):
    """A hint to all gateways that something they keep in memory has changed."""

    what: Literal["assistants"]


class StateChanged(Message):
    """A hint to all gateways: somebody has changed the state of this thread; read it again."""

    tenant: str
    thread_id: UUID
