"""What clients send, one model per body. Unknown fields are ignored: an SDK may be newer."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias, cast, get_args
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    model_validator,
)

from bedplate.graphs.persistence import MINUTES_MAX
from bedplate_proto.vocabulary import (
    Durability,
    IfExists,
    IfNotExists,
    MultitaskStrategy,
    OnCompletion,
    OnDisconnect,
    RunStatus,
    StreamMode,
    ThreadStatus,
    TtlStrategy,
)

from .ids import uuid_or_none

OFFSET_MAX = 2**31 - 1
PAGE_MAX = 1000
BATCH_MAX = 1000
ALIASES_MAX = 10
# Ten years; what lies further away is a mistake, not a plan.
AFTER_S_MAX = 315_360_000.0

Object: TypeAlias = dict[str, Any]
Limit = Annotated[int, Field(strict=True, ge=1, le=PAGE_MAX)]
Offset = Annotated[int, Field(strict=True, ge=0, le=OFFSET_MAX)]
Flag = Annotated[bool, Field(strict=True)]
SortOrder = Literal["asc", "desc"]

ThreadField = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config",
    "values", "interrupts", "error", "ttl",
]  # fmt: skip
RunField = Literal[
    "run_id", "thread_id", "assistant_id", "status", "metadata", "kwargs", "multitask_strategy",
    "created_at", "updated_at",
]  # fmt: skip
RUN_FIELDS: tuple[str, ...] = get_args(RunField)


def _object_for_null(value: Any) -> Any:
    return {} if value is None else value


def list_for_null(value: Any) -> Any:
    return [] if value is None else value


def _must_be_uuid(text: str | None) -> str | None:
    if text is not None and uuid_or_none(text) is None:
        raise ValueError("must be a UUID")
    return text


OptionalObject = Annotated[
    Object, BeforeValidator(_object_for_null, json_schema_input_type=Object | None)
]
UuidText = Annotated[str, AfterValidator(_must_be_uuid)]


class Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Config(BaseModel):
    """A runnable config: these keys are checked, any other is passed on."""

    model_config = ConfigDict(frozen=True, extra="allow")

    tags: list[str] | None = None
    recursion_limit: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None
    configurable: Object | None = None
    metadata: Object | None = None

    def given(self) -> Object:
        """What was sent, as plain values."""
        sent = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in sent.items() if value is not None} | (
            self.model_extra or {}
        )


class Checkpoint(Form):
    """Where in a thread's history; `thread_id` inside is only checked for its type."""

    thread_id: str | None = None
    checkpoint_id: UuidText | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: dict[str, str] | None = None

    def given(self) -> Object:
        return {
            name: value
            for name in ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
            if (value := getattr(self, name)) is not None
        }


# -- threads


def _state_values(value: Any) -> Any:
    if value is None or isinstance(value, dict | list):
        return cast("Any", value)
    raise ValueError("must be an object, a list or null")


StateValues = Annotated[Any, AfterValidator(_state_values)]


class ThreadUpdates(Form):
    """One write of a superstep, as if the node `as_node` had made it."""

    as_node: str
    values: StateValues = None
    command: Object | None = None


class Superstep(Form):
    updates: list[ThreadUpdates]


class ThreadLife(Form):
    ttl: Annotated[float, Field(strict=True, gt=0, le=MINUTES_MAX, description="Minutes.")]
    strategy: TtlStrategy = TtlStrategy.DELETE


def _life_of_number(value: Any) -> Any:
    return {"ttl": value} if isinstance(value, int | float) else value


Ttl = Annotated[
    ThreadLife | None,
    BeforeValidator(_life_of_number, json_schema_input_type=float | ThreadLife | None),
]


class ThreadCreate(Form):
    thread_id: UUID | None = None
    metadata: OptionalObject = {}
    if_exists: IfExists = IfExists.RAISE
    ttl: Ttl = Field(
        None, description="Minutes from its last update; null: for ever; else the default."
    )
    supersteps: list[Superstep] | None = None


class ThreadPatch(Form):
    metadata: OptionalObject = {}
    ttl: Ttl = Field(None, description="As on creation; unchanged if it is not given.")


class ThreadFilter(Form):
    metadata: Object | None = None
    values: Object | None = Field(None, description="Contained in the thread's state.")
    status: ThreadStatus | None = None


class ThreadSearch(ThreadFilter):
    ids: list[UUID] | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: (
        Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None
    ) = None
    sort_order: SortOrder | None = None
    select: list[ThreadField] | None = None
    extract: dict[str, str] | None = Field(
        None, description=f"Alias to path, at most {ALIASES_MAX}.", max_length=ALIASES_MAX
    )


class ThreadPrune(Form):
    thread_ids: Annotated[list[UUID], Field(max_length=PAGE_MAX)]
    strategy: Literal["delete", "keep_latest"] = "delete"


# -- state


class StateUpdate(Form):
    values: StateValues = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: UuidText | None = None

    def place(self) -> Object:
        return place_of(self.checkpoint, self.checkpoint_id)


class StateAt(Form):
    checkpoint: Checkpoint
    subgraphs: Flag = False


def _checkpoint_id_of(value: Any) -> Any:
    """`before` in its three spellings: a text, a checkpoint, a config with a checkpoint."""
    if isinstance(value, dict):
        found = cast("Object", value)
        inner: Any = found.get("configurable")
        found = cast("Object", inner) if isinstance(inner, dict) else found
        if not isinstance(found.get("checkpoint_id"), str):
            raise ValueError("must name a checkpoint_id")  # noqa: TRY004 (pydantic)
        return found["checkpoint_id"]
    return value


class HistoryRead(Form):
    limit: Limit = 1
    before: Annotated[
        UuidText | None,
        BeforeValidator(_checkpoint_id_of, json_schema_input_type=str | Object | None),
    ] = Field(None, description="A checkpoint's id, the checkpoint, or a config with its id.")
    metadata: Object | None = None
    checkpoint: Checkpoint | None = None


def place_of(checkpoint: Checkpoint | None, checkpoint_id: str | None) -> Object:
    """Both ways to say where, as one."""
    place = checkpoint.given() if checkpoint is not None else {}
    return place | ({"checkpoint_id": checkpoint_id} if checkpoint_id is not None else {})


# -- runs


def _is_target(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(cast("Object", value).get("node"), str)
    return isinstance(value, str)


def _command(value: Any) -> Any:
    """The command as it was sent, or `ValueError`: a run must not fail later for its form."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("must be an object")  # noqa: TRY004 (pydantic)
    command = cast("Object", value)
    goto = command.get("goto")
    targets = cast("list[Any]", goto) if isinstance(goto, list) else [goto]
    if goto is not None and not all(_is_target(target) for target in targets):
        raise ValueError("goto must be a node's name, {node, input}, or a list of these")
    update = command.get("update")
    pairs = cast("list[Any]", update) if isinstance(update, list) else []
    are_pairs = all(isinstance(pair, list) and len(cast("Any", pair)) == 2 for pair in pairs)
    if not (update is None or isinstance(update, dict | list)) or not are_pairs:
        raise ValueError("update must be an object or a list of [key, value] pairs")
    return command


def _modes(value: Any) -> Any:
    if value is None or value == []:
        return [StreamMode.VALUES]
    return [value] if isinstance(value, str) else value


Nodes: TypeAlias = Literal["*"] | list[str] | None


class RunRequest(Form):
    """What a run is asked to do, whoever starts it, and when."""

    assistant_id: Annotated[str, Field(min_length=1, description="A UUID or a graph's name.")]
    input: Any = None
    metadata: OptionalObject = {}
    config: Config | None = None
    context: Object | None = None
    webhook: str | None = Field(
        None, description="Called when the run is over: a URL, or a path of this server's app."
    )
    interrupt_before: Nodes = None
    interrupt_after: Nodes = None
    stream_mode: Annotated[
        list[StreamMode],
        BeforeValidator(_modes, json_schema_input_type=StreamMode | list[StreamMode] | None),
    ] = [StreamMode.VALUES]
    stream_subgraphs: Flag | None = False
    stream_resumable: Flag | None = False
    multitask_strategy: MultitaskStrategy | None = Field(
        MultitaskStrategy.ENQUEUE, description="What becomes of the thread's earlier runs."
    )
    durability: Durability | None = None
    checkpoint_during: Flag | None = Field(None, deprecated=True)


class RunCreate(RunRequest):
    """Also the body of a stateless run, which has no thread to find busy, missing or forked."""

    command: Annotated[
        Object | None, BeforeValidator(_command, json_schema_input_type=Object | None)
    ] = Field(None, description="resume, update and goto.")
    feedback_keys: list[str] | None = None
    if_not_exists: IfNotExists | None = IfNotExists.REJECT
    after_seconds: Annotated[float, Field(strict=True, ge=0, le=AFTER_S_MAX)] | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: UuidText | None = None
    strict_resume: Flag | None = Field(
        False, description="Fail when command.resume answers what is not asked."
    )
    on_completion: OnCompletion | None = OnCompletion.DELETE
    on_disconnect: OnDisconnect | None = OnDisconnect.CONTINUE

    @property
    def is_cancelled_with_client(self) -> bool:
        return self.on_disconnect is OnDisconnect.CANCEL


class RunBatch(RootModel[list[RunCreate]]):
    """Stateless runs, created together: all of them, or none."""

    root: Annotated[list[RunCreate], Field(min_length=1, max_length=BATCH_MAX)]


class RunsCancel(Form):
    """Some runs of one thread, or all that are in a state."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: UuidText | None = None
    run_ids: Annotated[list[UuidText], Field(min_length=1, max_length=BATCH_MAX)] | None = None

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if self.status is not None and (self.thread_id, self.run_ids) != (None, None):
            raise ValueError("give either status, or thread_id and run_ids, not both")
        if self.status is None and (self.thread_id is None or self.run_ids is None):
            raise ValueError("give either status, or thread_id and run_ids")
        return self


class RunList(Form):
    """The query of a list of runs."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 10
    offset: Annotated[int, Field(ge=0, le=OFFSET_MAX)] = 0
    status: RunStatus | None = None
    select: list[RunField] | None = None
