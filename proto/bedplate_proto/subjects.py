"""Who talks to whom: per subject the message, its one publisher, its consumers. A test holds the
routes to it.

Subjects are `<prefix>.v1.<rest>`; the prefix (`bedplate` unless configured) lets installations
share a broker. Ids are single tokens, never user text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from . import crons, items, runs, threads, webhooks
from .envelope import Message

VERSION = "v1"
DEFAULT_PREFIX = "bedplate"


class Kind(StrEnum):
    ORDER = "order"
    """Request-reply on core NATS, one consumer of a queue group answers."""
    POLL = "poll"
    """On core NATS, every consumer that is there answers."""
    FACT = "fact"
    """A CloudEvent in LIFECYCLE."""
    TICKET = "ticket"
    """A work queue: one consumer takes it."""
    EVENT = "event"
    """A run's own events."""
    HINT = "hint"
    """Core NATS, may be lost."""


@dataclass(frozen=True)
class Subject:
    """`rest` with `{…}` for tokens that vary."""

    rest: str
    kind: Kind
    message: type[Message]
    publisher: str
    consumers: tuple[str, ...]
    answer: type[Message] | None = None

    def at(self, prefix: str, **tokens: object) -> str:
        """The concrete subject; every `{token}` must be given."""
        return f"{prefix}.{VERSION}.{self.rest.format(**tokens)}"

    def everywhere(self, prefix: str) -> str:
        """The subject with `*` for every token."""
        parts = ["*" if part.startswith("{") else part for part in self.rest.split(".")]
        return f"{prefix}.{VERSION}." + ".".join(parts)


GATEWAY, SCHEDULER, EXECUTOR = "gateway", "run-scheduler", "executor"
WEBHOOKS, TRACER, OUTSIDE = "webhook-dispatcher", "tracer", "subscribers"


def _to_scheduler(
    verb: str, message: type[Message], answer: type[Message] | None = None
) -> Subject:
    return Subject(f"rpc.{SCHEDULER}.{verb}", Kind.ORDER, message, GATEWAY, (SCHEDULER,), answer)


def _to_executor(verb: str, message: type[Message], answer: type[Message] | None = None) -> Subject:
    return Subject(f"rpc.{EXECUTOR}.{verb}", Kind.ORDER, message, GATEWAY, (EXECUTOR,), answer)


CREATE_RUN = _to_scheduler("create_run", runs.CreateRun)
CREATE_RUNS = _to_scheduler("create_runs", runs.CreateRuns)
CANCEL_RUNS = _to_scheduler("cancel_runs", runs.CancelRuns, runs.CancelRunsAnswer)
CANCEL_RUN = _to_scheduler("cancel_run", runs.CancelRun, runs.CancelAnswer)
DELETE_RUN = _to_scheduler("delete_run", runs.DeleteRun, runs.DeleteRunAnswer)
DELETE_THREAD = _to_scheduler("delete_thread", threads.DeleteThread, threads.Nothing)
COPY_THREAD = _to_scheduler("copy_thread", threads.CopyThread)
PRUNE_THREADS = _to_scheduler("prune_threads", threads.PruneThreads, threads.PruneAnswer)
CREATE_CRON = _to_scheduler("create_cron", crons.CreateCron)
UPDATE_CRON = _to_scheduler("update_cron", crons.UpdateCron)
DELETE_CRON = _to_scheduler("delete_cron", crons.DeleteCron, threads.Nothing)
DELETE_CRONS_OF_ASSISTANT = _to_scheduler(
    "delete_crons_of_assistant", crons.DeleteCronsOfAssistant, threads.Nothing
)

READ_STATE = _to_executor("read_state", threads.ReadState)
READ_HISTORY = _to_executor("read_history", threads.ReadHistory)
UPDATE_STATE = _to_executor("update_state", threads.UpdateState)
PATCH_STATE = _to_executor("patch_state", threads.PatchState)
BULK_UPDATE_STATE = _to_executor("bulk_update_state", threads.BulkUpdateState)
FORGET_RUN = _to_executor("forget_run", threads.ForgetRun)
KEEP_LATEST = _to_executor("keep_latest", threads.KeepLatest)
COPY_CHECKPOINTS = _to_executor("copy_checkpoints", threads.CopyCheckpoints)
DRAW_GRAPH = _to_executor("draw_graph", threads.DrawGraph)
READ_SCHEMAS = _to_executor("read_schemas", threads.ReadSchemas)
READ_SUBGRAPHS = _to_executor("read_subgraphs", threads.ReadSubgraphs)
PUT_ITEM = _to_executor("put_item", items.PutItem)
GET_ITEM = _to_executor("get_item", items.GetItem)
DELETE_ITEM = _to_executor("delete_item", items.DeleteItem)
SEARCH_ITEMS = _to_executor("search_items", items.SearchItems)
LIST_NAMESPACES = _to_executor("list_namespaces", items.ListNamespaces)
ASSIGN_PRIORITIES = _to_executor(
    "assign_priorities", runs.AssignPriorities, runs.AssignedPriorities
)
COUNT_SLOTS = Subject(
    f"rpc.{EXECUTOR}.count_slots", Kind.POLL, runs.CountSlots, GATEWAY, (EXECUTOR,), runs.Slots
)

REGISTER_GRAPHS = Subject(
    f"rpc.{GATEWAY}.register_graphs",
    Kind.ORDER,
    threads.RegisterGraphs,
    EXECUTOR,
    (GATEWAY,),
    threads.Nothing,
)

REDELIVER = Subject(
    f"rpc.{WEBHOOKS}.redeliver", Kind.ORDER, webhooks.Redeliver, GATEWAY, (WEBHOOKS,)
)

RUN_READY = Subject(
    "dispatch.{pool}.{priority}", Kind.TICKET, runs.RunReady, SCHEDULER, (EXECUTOR,)
)
RUN_EVENT = Subject(
    "ev.{tenant}.{thread}.{run}", Kind.EVENT, runs.RunEvent, EXECUTOR, (GATEWAY, OUTSIDE)
)
RUN_LIVE = Subject(
    "live.{tenant}.{thread}.{run}", Kind.EVENT, runs.RunEvent, EXECUTOR, (GATEWAY, OUTSIDE)
)
RUN_CREATED = Subject(
    "lc.{tenant}.run.created", Kind.FACT, runs.RunCreated, SCHEDULER, (TRACER, OUTSIDE)
)
RUN_FINISHED = Subject(
    "lc.{tenant}.run.finished",
    Kind.FACT,
    runs.RunFinished,
    EXECUTOR,
    (TRACER, OUTSIDE),
)
RUN_SIGNAL = Subject("sig.{run}", Kind.HINT, runs.RunSignal, SCHEDULER, (EXECUTOR,))
SCHEDULER_POKE = Subject(f"wake.{SCHEDULER}", Kind.HINT, runs.SchedulerPoke, EXECUTOR, (SCHEDULER,))
THREAD_FREED = Subject(
    f"wake.{SCHEDULER}.thread", Kind.HINT, runs.ThreadFreed, EXECUTOR, (SCHEDULER,)
)
WEBHOOK_POKE = Subject(f"wake.{WEBHOOKS}", Kind.HINT, webhooks.WebhookPoke, EXECUTOR, (WEBHOOKS,))
GATEWAY_POKE = Subject(f"wake.{GATEWAY}", Kind.HINT, threads.GatewayPoke, GATEWAY, (GATEWAY,))
STATE_CHANGED = Subject(
    f"wake.{GATEWAY}.state", Kind.HINT, threads.StateChanged, GATEWAY, (GATEWAY,)
)

ALL: tuple[Subject, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Subject)
)

DEFAULT_POOL, DEFAULT_PRIORITY = "default", "normal"


@dataclass(frozen=True)
class RunAddress:
    """Where a run's events live."""

    tenant: str
    thread_id: UUID
    run_id: UUID

    def stored(self, prefix: str) -> str:
        return RUN_EVENT.at(prefix, tenant=self.tenant, thread=self.thread_id, run=self.run_id)

    def live(self, prefix: str) -> str:
        return RUN_LIVE.at(prefix, tenant=self.tenant, thread=self.thread_id, run=self.run_id)


@dataclass(frozen=True)
class ThreadAddress:
    """Where the events of all runs of a thread live: wildcards over their runs' subjects."""

    tenant: str
    thread_id: UUID

    def stored(self, prefix: str) -> str:
        return RUN_EVENT.at(prefix, tenant=self.tenant, thread=self.thread_id, run="*")

    def live(self, prefix: str) -> str:
        return RUN_LIVE.at(prefix, tenant=self.tenant, thread=self.thread_id, run="*")
