"""The messages that a change of a run is committed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson

from bedplate_proto import subjects
from bedplate_proto.envelope import Fact, cloud_event
from bedplate_proto.runs import CreateRun, RunCreated, RunEnd, RunEvent, RunFinished, RunReady
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import EventName, RunStatus

from .outbox import Outgoing


@dataclass(frozen=True)
class Finish:
    """The facts of a run that its `run.finished` message tells besides the outcome."""

    run_id: UUID
    thread_id: UUID
    tenant: str
    assistant_id: UUID
    graph_id: str
    attempt: int
    webhook: str | None


class Messages:
    """Makes messages for an installation's subjects. Ids are such that the same fact has the same
    id."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.ticket_subject = subjects.RUN_READY.at(
            prefix, pool=subjects.DEFAULT_POOL, priority=subjects.DEFAULT_PRIORITY
        )

    def of_new_run(self, order: CreateRun, *, starts: bool) -> list[Outgoing]:
        """`run.created`, after the ticket if the run starts at once: somebody waits for that
        one."""
        created = RunCreated(
            run_id=order.run_id,
            thread_id=order.thread_id,
            assistant_id=order.assistant_id,
            graph_id=order.graph_id,
        )
        subject = subjects.RUN_CREATED.at(self._prefix, tenant=order.tenant)
        fact = _fact(created, subject, order.run_id, order.thread_id, tenant=order.tenant)
        if not starts:
            return [fact]
        ready = RunReady(run_id=order.run_id, thread_id=order.thread_id, ticket=1)
        return [
            Outgoing(0, f"{order.run_id}:1", self.ticket_subject, ready.model_dump_json()),
            fact,
        ]

    def of_finished_run(
        self,
        about: Finish,
        status: RunStatus,
        *,
        rolled_back: bool,
        error: str | None = None,
        has_next: bool = False,
    ) -> Outgoing:
        """`has_next` is filled in by the statement where the statement knows it."""
        finished = RunFinished(
            run_id=about.run_id,
            thread_id=about.thread_id,
            assistant_id=about.assistant_id,
            graph_id=about.graph_id,
            status=status,
            attempt=about.attempt,
            has_next=has_next,
            is_rolled_back=rolled_back,
            error=None if error is None else orjson.loads(error),
            webhook=about.webhook,
        )
        subject = subjects.RUN_FINISHED.at(self._prefix, tenant=about.tenant)
        return _fact(finished, subject, about.run_id, about.thread_id, tenant=about.tenant)

    def of_unstarted_end(
        self, run: RunAddress, *, n: int, finished_at: datetime | None
    ) -> Outgoing:
        """The `end` event of a run that no attempt has begun. `n` is 0 where another run numbers
        the thread's events: it is told where it stands then. `finished_at` None: the row is
        gone."""
        end = RunEnd(
            status=RunStatus.INTERRUPTED,
            graph=None,
            waits=False,
            finished_at=None if finished_at is None else finished_at.isoformat(),
            values_n=None,
            error=None,
            values=None,
        )
        event = RunEvent(n=n, attempt=0, event=EventName.END, data=end.model_dump(mode="json"))
        line = event.model_dump_json() + "\n"
        return Outgoing(0, f"{run.run_id}:end", run.stored(self._prefix), line)


def _fact(fact: Fact, subject: str, run_id: UUID, thread_id: UUID, *, tenant: str) -> Outgoing:
    event_id = f"{run_id}:{fact.noun_participle}"
    event = cloud_event(
        fact,
        event_id=event_id,
        tenant=tenant,
        source=f"/threads/{thread_id}/runs/{run_id}",
        at=datetime.now(UTC),
    )
    return Outgoing(0, event_id, subject, event.model_dump_json())


def arrays(messages: Sequence[Outgoing]) -> tuple[list[str], list[str], list[str]]:
    """The columns of `write_outbox.sql` and of the statements that write messages along."""
    return (
        [message.msg_id for message in messages],
        [message.subject for message in messages],
        [message.body for message in messages],
    )


def numbered(messages: Sequence[Outgoing], ids: Sequence[int]) -> list[Outgoing]:
    """The messages again, with the ids their rows got."""
    return [
        Outgoing(outbox_id, message.msg_id, message.subject, message.body)
        for message, outbox_id in zip(messages, ids, strict=True)
    ]


def webhook_of(kwargs: str) -> str | None:
    """Read here and not by PostgreSQL, whose `->>` fails when any text in `kwargs` holds a NUL."""
    webhook = orjson.loads(kwargs).get("webhook")
    return webhook if isinstance(webhook, str) else None
