"""What clients get, for the API's documentation. Rows themselves are made by PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from bedplate_proto.vocabulary import (
    MultitaskStrategy,
    OnCompletion,
    RunStatus,
    ThreadStatus,
    TtlStrategy,
)

from .forms import Object


class Assistant(BaseModel):
    assistant_id: UUID
    graph_id: str
    name: str
    description: str | None
    config: Object
    context: Object
    metadata: Object
    version: int
    created_at: datetime
    updated_at: datetime


class Graph(BaseModel):
    nodes: list[Object]
    edges: list[Object]


class Schemas(BaseModel):
    """JSON Schemas, null where the graph has none."""

    graph_id: str
    input_schema: Object | None
    output_schema: Object | None
    state_schema: Object | None
    config_schema: Object | None
    context_schema: Object | None


class Ttl(BaseModel):
    strategy: TtlStrategy
    ttl_minutes: float
    expires_at: datetime


class Thread(BaseModel):
    thread_id: UUID
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: Object
    status: ThreadStatus
    config: Object
    values: Object | None
    interrupts: dict[str, list[Object]]
    error: Object | None
    extracted: Object | None = Field(None, description="Only when `extract` was asked for.")
    ttl: Ttl | None = Field(None, description="Only when it was asked for; null: for ever.")


class Place(BaseModel):
    """A checkpoint's place."""

    thread_id: UUID
    checkpoint_ns: str
    checkpoint_id: str | None = None
    checkpoint_map: Object | None = None


class Task(BaseModel):
    id: str
    name: str
    path: list[Any]
    error: str | None
    interrupts: list[Object]
    checkpoint: Object | None
    state: Object | None
    result: Any


class ThreadState(BaseModel):
    values: Any
    next: list[str]
    tasks: list[Task]
    metadata: Object
    created_at: datetime | None
    checkpoint: Place
    parent_checkpoint: Place | None
    interrupts: list[Object]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class StateUpdated(BaseModel):
    checkpoint: Object
    configurable: Object
    checkpoint_id: str


class Run(BaseModel):
    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    status: RunStatus
    metadata: Object
    kwargs: Object
    multitask_strategy: MultitaskStrategy
    created_at: datetime
    updated_at: datetime


class Cron(BaseModel):
    """`payload` is the request of its runs; `next_run_date` is null when it will not fire."""

    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    on_run_completed: OnCompletion | None
    end_time: datetime | None
    schedule: str
    timezone: str | None
    created_at: datetime
    updated_at: datetime
    payload: Object
    user_id: str | None
    next_run_date: datetime | None
    metadata: Object
    enabled: bool


class Delivery(BaseModel):
    """Of a webhook. `next_try_at` while it is pending, `settled_at` afterwards; the `last_…` tell
    how the latest try went. `tries` counts them all."""

    delivery_id: UUID
    run_id: UUID
    thread_id: UUID
    url: str
    status: Literal["pending", "delivered", "dead"]
    tries: int
    next_try_at: datetime | None
    last_status_code: int | None
    last_error: str | None
    created_at: datetime
    settled_at: datetime | None


class Taken(BaseModel):
    count: int
    bytes: int


class ChannelsTaken(Taken):
    by_channel: dict[str, int] = Field(description="Bytes of each channel, the largest first.")


class Storage(BaseModel):
    """As stored: compressed, without indexes."""

    thread_id: UUID
    total_bytes: int
    checkpoints: Taken
    channel_values: ChannelsTaken
    pending_writes: Taken


class Pruned(BaseModel):
    pruned_count: int


class Health(BaseModel):
    ok: bool
    services: dict[str, str] = Field(description="healthy, unhealthy or skipped")


class ServerInfo(BaseModel):
    version: str
    langgraph_py_version: str
    flags: dict[str, bool]
    host: Object


class Command(BaseModel):
    id: int
    method: str = Field(description="run.start, input.respond or agent.getTree")
    params: Object = {}


class CommandAnswer(BaseModel):
    """`result` of a success, `error` and `message` of a failure."""

    type: Literal["success", "error"]
    id: int | None
    result: Object | None = None
    error: str | None = None
    message: str | None = None
    meta: Object = {}


class Item(BaseModel):
    namespace: list[str]
    key: str
    value: Object
    created_at: datetime
    updated_at: datetime


class FoundItem(Item):
    score: float | None


class FoundItems(BaseModel):
    items: list[FoundItem]


class Namespaces(BaseModel):
    namespaces: list[list[str]]


class Problem(BaseModel):
    """What was wrong with a request."""

    detail: str
