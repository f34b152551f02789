"""Runs: ordered from the scheduler, read from PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic_core import from_json

from bedplate.bus.broker import Bus
from bedplate.chassis.log import get_logger
from bedplate.kernel.errors import BedplateError, NotFound
from bedplate_proto import subjects
from bedplate_proto.runs import (
    CancelAnswer,
    CancelRun,
    CancelRuns,
    CreateRun,
    CreateRuns,
    DeleteRun,
    DeleteRunAnswer,
)
from bedplate_proto.subjects import RunAddress
from bedplate_proto.threads import ForgetRun, ReadHistory
from bedplate_proto.vocabulary import CancelAction, IfNotExists, MultitaskStrategy, RunStatus

from .access import rules
from .access.access import THREAD_MISSING, Access, stamped
from .access.filters import ANY, Filter
from .assistants import RUN_NOT_FOUND, Assistant, Assistants
from .ending import Ending
from .forms import Object, RunCreate, RunList, RunsCancel
from .json_text import array, dumped
from .priorities import Priorities
from .rows import Rows
from .run_order import Asked, run_order
from .sealer import Sealer
from .webhooks import Acceptance

log = get_logger()

# Reading a state may load the user's graph first.
EXECUTOR_S_MAX = 30.0
# Many runs are stopped one by one.
CANCEL_MANY_S_MAX = 60.0
_CANCELLED_AT_ONCE = 500
_STATUSES = {
    "pending": [RunStatus.PENDING],
    "running": [RunStatus.RUNNING],
    "all": [RunStatus.PENDING, RunStatus.RUNNING],
}
RUN_MISSING = "Run not found."


@dataclass(frozen=True)
class Found:
    """What readers of a run must know."""

    address: RunAddress
    status: RunStatus
    attempt: int
    error: str | None
    graph_id: str
    assistant_id: UUID
    is_resumable: bool


@dataclass(frozen=True)
class Ready:
    """A run that is checked and may be ordered; its events can be followed before it is."""

    address: RunAddress
    order: CreateRun
    found: Filter = ANY
    """What of threads the caller may meet."""


class Runs:
    def __init__(
        self,
        rows: Rows,
        bus: Bus,
        assistants: Assistants,
        priorities: Priorities,
        *,
        tenant: str,
        user_key: str,
        webhooks: Acceptance | None = None,
    ) -> None:
        self._rows = rows
        self._bus = bus
        self._assistants = assistants
        self._tenant = tenant
        self._user_key = user_key
        self._webhooks = webhooks or Acceptance()
        self._priorities = priorities
        self._sealer = Sealer(rows.sealing)

    async def ready(
        self,
        form: RunCreate,
        *,
        thread_id: UUID | None,
        request_id: str,
        by: Access,
        headers: Mapping[str, str] | None = None,
        speaks_protocol: bool = False,
    ) -> Ready:
        """Everything about a new run that can be checked here. `thread_id` None: stateless."""
        assistant = await self._assistants.find(form.assistant_id)
        await may_use(assistant, by)
        order = self.order(
            form,
            assistant,
            thread_id=thread_id,
            request_id=request_id,
            by=by,
            headers=headers,
            speaks_protocol=speaks_protocol,
        )
        found = ANY
        if not by.is_free:
            order, found = await _admitted(order, is_new=thread_id is None, by=by)
        return Ready(self.address(order.thread_id, order.run_id), order, found)

    def order(
        self,
        form: RunCreate,
        assistant: Assistant,
        *,
        thread_id: UUID | None,
        request_id: str,
        by: Access,
        headers: Mapping[str, str] | None = None,
        speaks_protocol: bool = False,
    ) -> CreateRun:
        """A run for whoever asks now. Raises `Refused`, `Unprocessable`."""
        asked = Asked(
            self._tenant,
            thread_id,
            request_id,
            self._user_key,
            speaks_protocol=speaks_protocol,
            webhook=self._webhooks.accepted(form.webhook),
            caller=by.caller,
            headers=headers or {},
            encryption_context=by.encryption_context,
        )
        return run_order(form, assistant, asked)

    async def ranked(
        self, order: CreateRun, *, cron_id: UUID, before: CreateRun | None
    ) -> CreateRun:
        """The order of a cron's runs with what the project says of their priority. Raises
        `Unavailable`."""
        return await self._priorities.of_cron(order, cron_id, before=before)

    async def _orders(self, ready: Sequence[Ready]) -> list[CreateRun]:
        """As they are sent and kept."""
        orders = await self._priorities.assigned([one.order for one in ready])
        if not self._sealer.is_on:
            return orders
        return [
            await self._sealer.order(order, found=one.found)
            for order, one in zip(orders, ready, strict=True)
        ]

    async def create(self, ready: Ready) -> bytes:
        """The row. Raises `NotFound` (no such thread), `Conflict` (busy, and told to reject)."""
        [order] = await self._orders([ready])
        row = await self._bus.order(subjects.CREATE_RUN, order)
        return await self._sealer.opened_answer(row) if self._sealer.is_on else row

    async def create_all(self, ready: Sequence[Ready]) -> bytes:
        """The rows, in order: of all, or nothing is created."""
        order = CreateRuns(runs=await self._orders(ready))
        rows = await self._bus.order(subjects.CREATE_RUNS, order)
        return await self._sealer.opened_answer(rows)

    async def get(self, thread_id: UUID, run_id: UUID) -> str:
        row = await self._rows.value("get_run", self._tenant, thread_id, run_id)
        if row is None:
            raise NotFound(RUN_MISSING, run_id=str(run_id))
        return row

    async def list(self, thread_id: UUID, form: RunList) -> bytes:
        """Newest first. Raises `NotFound` for the thread."""
        found = await self._rows.all(
            "list_runs",
            self._tenant,
            thread_id,
            form.status,
            form.select or None,
            form.limit,
            form.offset,
        )
        if not found:
            raise NotFound(THREAD_MISSING, thread_id=str(thread_id))
        return array([row["row"] for row in found if row["row"] is not None])

    async def cancel(self, address: RunAddress, action: CancelAction) -> bool:
        """True: it is over; False: its executor was told. Raises `NotFound` when there is none."""
        order = CancelRun(
            tenant=address.tenant,
            thread_id=address.thread_id,
            run_id=address.run_id,
            action=action,
        )
        answer = await self._bus.order(subjects.CANCEL_RUN, order)
        return CancelAnswer.model_validate_json(answer).outcome == "stopped"

    async def cancel_many(self, form: RunsCancel, action: CancelAction, *, by: Access) -> None:
        """Raises `NotFound` when there is none to cancel."""
        thread_id = None if form.thread_id is None else UUID(form.thread_id)
        value = {"thread_id": thread_id, "action": action.value, "metadata": {}}
        found_by = await by.to(rules.THREADS_UPDATE, value)
        if thread_id is not None:
            await by.thread(thread_id, found_by)
        elif not found_by.is_open:
            await self._cancel_own(form, action, found_by)
            return
        order = CancelRuns(
            tenant=self._tenant,
            thread_id=thread_id,
            run_ids=[UUID(run_id) for run_id in form.run_ids or ()],
            statuses=_STATUSES.get(form.status or "", []),
            action=action,
        )
        await self._bus.order(subjects.CANCEL_RUNS, order, limit_s=CANCEL_MANY_S_MAX)

    async def _cancel_own(self, form: RunsCancel, action: CancelAction, own: Filter) -> None:
        """All runs of such a status, as far as their threads match."""
        access = own.on("threads.metadata", after=4)
        statuses = _STATUSES[form.status or "all"]
        after, count = UUID(int=0), 0
        while found := await self._rows.all(
            "find_own_active_runs",
            self._tenant,
            statuses,
            after,
            _CANCELLED_AT_ONCE,
            *access.values,
            access=access.text,
        ):
            after = found[-1]["run_id"]
            for row in found:
                try:
                    await self.cancel(self.address(row["thread_id"], row["run_id"]), action)
                except NotFound:
                    continue
                count += 1
        if count == 0:
            raise NotFound("No runs found to cancel.")

    async def abandon(self, address: RunAddress) -> None:
        """The client that wanted the run is gone: stop it, if it is not over."""
        try:
            await self.cancel(address, CancelAction.INTERRUPT)
        except BedplateError as error:
            log.info("run.not_abandoned", run_id=str(address.run_id), why=error.message)
        else:
            log.info("run.abandoned", run_id=str(address.run_id))

    async def delete(self, address: RunAddress, *, by: Access) -> bool:
        """True: it is gone; False: its executor stops it and then removes it."""
        found = await self.find(address.run_id, thread_id=address.thread_id)
        order = DeleteRun(tenant=address.tenant, thread_id=address.thread_id, run_id=address.run_id)
        answer = await self._bus.order(subjects.DELETE_RUN, order)
        outcome = DeleteRunAnswer.model_validate_json(answer).outcome
        if outcome == "finished":
            forget = ForgetRun(
                tenant=address.tenant,
                graph_id=found.graph_id,
                assistant_id=found.assistant_id,
                encryption_context=by.encryption_context,
                thread_id=address.thread_id,
                run_id=address.run_id,
            )
            await self._bus.order(subjects.FORGET_RUN, forget, limit_s=EXECUTOR_S_MAX)
        return outcome != "stopping"

    # -- for streams

    def address(self, thread_id: UUID, run_id: UUID) -> RunAddress:
        return RunAddress(self._tenant, thread_id, run_id)

    async def find(self, run_id: UUID, *, thread_id: UUID | None) -> Found:
        """`thread_id` None: wherever it is. Raises `NotFound`."""
        row = await self._rows.one("find_run", self._tenant, run_id)
        if row is None or thread_id not in (None, row["thread_id"]):
            raise NotFound(RUN_MISSING, run_id=str(run_id))
        return Found(
            address=self.address(row["thread_id"], run_id),
            status=RunStatus(row["status"]),
            attempt=row["attempt"],
            error=row["error"],
            graph_id=row["graph_id"],
            assistant_id=row["assistant_id"],
            is_resumable=row["is_resumable"],
        )

    async def is_seen(self, found: Found, *, up_to_n: int) -> bool:
        """Whether nothing but its end came after this number. Only the last run of a thread has its
        number in the rows."""
        row = await self._rows.one("find_ended_run", self._tenant, found.address.thread_id, None)
        if row is None or row["run_id"] != found.address.run_id:
            return False
        return up_to_n >= row["events_n"] - 1

    async def ending(self, run_id: UUID) -> Ending:
        """How a run ended whose end event is lost. One that is gone was interrupted."""
        try:
            found = await self.find(run_id, thread_id=None)
        except NotFound:
            return Ending(RunStatus.INTERRUPTED, None, None)
        error = None if found.error is None else found.error.encode()
        ending = Ending(found.status, error, None)
        if ending.is_failure:
            return ending
        return Ending(found.status, error, await self._values(found))

    async def _values(self, found: Found) -> bytes | None:
        """The values a run ended with: what its thread shows, or else its newest checkpoint."""
        if shown := await self._rows.one("get_shown_values", found.address.run_id):
            return None if shown["row"] is None else shown["row"].encode()
        ask = ReadHistory(
            tenant=self._tenant,
            graph_id=found.graph_id,
            assistant_id=found.assistant_id,
            thread_id=found.address.thread_id,
            limit=1,
            metadata={"run_id": str(found.address.run_id)},
        )
        answer = await self._bus.order(subjects.READ_HISTORY, ask, limit_s=EXECUTOR_S_MAX)
        states = from_json(answer)
        return dumped(states[0]["values"]).encode() if states else None


async def may_use(assistant: Assistant, by: Access) -> None:
    """A graph's own assistant belongs to nobody, and is everybody's."""
    if by.is_free or assistant.is_default:
        return
    value = {"assistant_id": assistant.assistant_id, "metadata": {}}
    found = await by.to(rules.ASSISTANTS_READ, value)
    if not found.matches(assistant.metadata):
        raise NotFound(RUN_NOT_FOUND, assistant_id=str(assistant.assistant_id))


async def _admitted(order: CreateRun, *, is_new: bool, by: Access) -> tuple[CreateRun, Filter]:
    """The order as the project's handler leaves it, and what it lets the caller meet. What it
    has written into the metadata is also that of a thread made for the run: else nobody could
    read what they started."""
    before: Object = from_json(order.metadata)
    value: Object = {
        "assistant_id": order.assistant_id,
        "thread_id": None if is_new else order.thread_id,
        "run_id": order.run_id,
        "status": RunStatus.PENDING.value,
        "metadata": {**before},
        "prevent_insert_if_inflight": order.multitask_strategy is MultitaskStrategy.REJECT,
        "multitask_strategy": order.multitask_strategy.value,
        "if_not_exists": order.if_not_exists.value,
        "after_seconds": order.after_s,
        "kwargs": from_json(order.kwargs),
    }
    found = await by.to(rules.THREADS_CREATE_RUN, value)
    if not is_new:
        may_be_new = order.if_not_exists is IfNotExists.CREATE
        await by.thread(order.thread_id, found, missing=RUN_NOT_FOUND, may_be_new=may_be_new)
    after: Object = value.get("metadata") or {}
    changed = order.model_copy(
        update={
            "metadata": dumped({**after, "assistant_id": str(order.assistant_id)}),
            "kwargs": dumped(value["kwargs"]),
            "new_thread_metadata": dumped(stamped(before, after)),
        }
    )
    return changed, found
