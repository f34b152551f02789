"""Crons: changed by order of the scheduler, read from PostgreSQL."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from pydantic_core import from_json

from bedplate.bus.broker import Bus
from bedplate.chassis.ids import uuid7
from bedplate.kernel.cron import Schedule
from bedplate.kernel.errors import Conflict, NotFound, Refused
from bedplate.kernel.setup import Setup
from bedplate_proto import subjects
from bedplate_proto.crons import CreateCron, CronPlan, DeleteCron, UpdateCron
from bedplate_proto.runs import CreateRun
from bedplate_proto.vocabulary import OnCompletion

from .access import rules
from .access.access import Access
from .access.filters import ANY, Condition, Filter, either, filter_of
from .access.rules import Rule
from .asking import Page, ordering, page_of
from .assistants import Assistant, Assistants
from .checking import checked
from .cron_forms import CronFilter, CronRequest, CronSearch
from .errors import Unprocessable
from .forms import Object, RunCreate
from .json_text import dumped
from .rows import Rows
from .runs import Runs, may_use
from .sealer import Sealer

CRON_MISSING = "Cron not found."
F = TypeVar("F", bound=CronFilter)
_COLUMNS = {"next_run_date": "next_run_at"}
_WITH_NULLS = ("next_run_at", "end_time", "thread_id")
# Somebody else changes the same cron at the same moment; more often than this nobody does.
_TRIES_MAX = 5
# What the server says of the user. A cron's runs are its creator's, whoever changes it later.
_USER_ID = "langgraph_auth_user_id"
_OF_USER = ("langgraph_auth_user", _USER_ID, "langgraph_auth_permissions", "user_id")


class Crons:
    def __init__(
        self,
        rows: Rows,
        bus: Bus,
        assistants: Assistants,
        runs: Runs,
        *,
        tenant: str,
    ) -> None:
        self._sealer = Sealer(rows.sealing)
        self._rows = rows
        self._bus = bus
        self._assistants = assistants
        self._runs = runs
        self._tenant = tenant

    async def create(
        self, given: Object, *, thread_id: UUID | None, request_id: str, by: Access
    ) -> bytes:
        """The row. Raises `NotFound` (no such thread or assistant), `Unprocessable`, `Refused`,
        `Unavailable`."""
        cron_id = uuid7()
        payload, found = await _asked(rules.CRONS_CREATE, _known(given), cron_id, thread_id, by)
        if thread_id is not None:
            await by.to_thread(rules.THREADS_READ, thread_id)
        plan = await self._plan(cron_id, payload, thread_id=thread_id, request_id=request_id, by=by)
        plan = await self._sealed(plan, found)
        order = CreateCron(tenant=self._tenant, cron_id=cron_id, thread_id=thread_id, plan=plan)
        row = await self._bus.order(subjects.CREATE_CRON, order)
        return await self._sealer.opened_answer(row)

    async def update(self, cron_id: UUID, given: Object, *, request_id: str, by: Access) -> bytes:
        """The row. What is given takes the place of what was, metadata is merged key by key."""
        changes = _known(given)
        if not changes:
            raise Refused("Request body cannot be empty")
        changes, found = await _asked(rules.CRONS_UPDATE, changes, cron_id, None, by)
        await by.object("cron", cron_id, found, missing=CRON_MISSING)
        for _ in range(_TRIES_MAX):
            row = await self._rows.one("find_cron", self._tenant, cron_id)
            if row is None:
                raise NotFound(CRON_MISSING, cron_id=str(cron_id))
            before = await self._opened(CreateRun.model_validate_json(row["run_order"]))
            plan = await self._plan(
                cron_id,
                _changed(from_json(row["payload"]), changes),
                thread_id=row["thread_id"],
                request_id=request_id,
                by=by,
                before=before,
            )
            kept = {"user_id": row["user_id"], "order": _as_before(plan.order, before)}
            order = UpdateCron(
                tenant=self._tenant,
                cron_id=cron_id,
                revision=row["revision"],
                plan=await self._sealed(plan.model_copy(update=kept), found),
            )
            try:
                changed = await self._bus.order(subjects.UPDATE_CRON, order)
            except Conflict:
                continue
            return await self._sealer.opened_answer(changed)
        raise Conflict("the cron changes faster than it can be updated: try again")

    async def delete(self, cron_id: UUID) -> None:
        order = DeleteCron(tenant=self._tenant, cron_id=cron_id)
        await self._bus.order(subjects.DELETE_CRON, order)

    async def get(self, cron_id: UUID) -> str:
        row = await self._rows.value("get_cron", self._tenant, cron_id)
        if row is None:
            raise NotFound(CRON_MISSING, cron_id=str(cron_id))
        return row

    async def search(self, form: CronSearch, *, by: Access) -> Page:
        column = _COLUMNS.get(form.sort_by or "created_at", form.sort_by or "created_at")
        form, access = await _visible(form, by, after=8)
        found = await self._rows.all(
            "search_crons",
            *await self._filter(form),
            form.select or None,
            form.limit + 1,
            form.offset,
            *access.values,
            access=access.text,
            order=ordering(
                column, form.sort_order, last="cron_id", has_nulls=column in _WITH_NULLS
            ),
        )
        return page_of([row["row"] for row in found], limit=form.limit, offset=form.offset)

    async def count(self, form: CronFilter, *, by: Access) -> int:
        form, access = await _visible(form, by, after=5)
        given = await self._filter(form)
        return await self._rows.value("count_crons", *given, *access.values, access=access.text)

    async def _filter(self, form: CronFilter) -> tuple[Any, ...]:
        assistant_id = None
        if form.assistant_id is not None:
            assistant_id = await self._assistants.id_of(form.assistant_id)
        metadata = None if form.metadata is None else dumped(form.metadata)
        return self._tenant, assistant_id, form.thread_id, form.enabled, metadata

    async def _sealed(self, plan: CronPlan, found: Filter) -> CronPlan:
        """As it is kept, in the context of whoever made the cron."""
        if not self._sealer.is_on:
            return plan
        context = plan.order.encryption_context
        maker = Access(None if context is None else from_json(context))
        parts = {
            name: await self._sealer.text(from_json(text), "cron", name, by=maker, found=found)
            for name, text in (("metadata", plan.metadata), ("payload", plan.payload))
        }
        order = await self._sealer.order(plan.order)
        return plan.model_copy(update={**parts, "order": order})

    async def _opened(self, order: CreateRun) -> CreateRun:
        user = None if order.user is None else await self._sealer.opened(order.user)
        opened = {"kwargs": await self._sealer.opened(order.kwargs), "user": user}
        return order.model_copy(update=opened)

    async def _plan(
        self,
        cron_id: UUID,
        payload: Object,
        *,
        thread_id: UUID | None,
        request_id: str,
        by: Access,
        before: CreateRun | None = None,
    ) -> CronPlan:
        """Everything that can be checked here is: a cron must not fail at night for its form."""
        request = checked(CronRequest, payload)
        try:
            Schedule(request.schedule, request.timezone)
        except Refused as error:
            raise Unprocessable(error.message) from error
        known = await self._assistants.find(request.assistant_id)
        await may_use(known, by)
        # Its own config, context and metadata are looked at when a run is due.
        bare = Assistant(known.assistant_id, known.graph_id, Setup({}, {}), {})
        completed = (request.on_run_completed or OnCompletion.DELETE) if thread_id is None else None
        form = checked(RunCreate, {**payload, "on_completion": completed})
        order = self._runs.order(form, bare, thread_id=thread_id, request_id=request_id, by=by)
        asked = order.model_copy(update={"assistant_metadata": dumped(known.metadata)})
        ranked = await self._runs.ranked(asked, cron_id=cron_id, before=before)
        return CronPlan(
            assistant_id=known.assistant_id,
            schedule=request.schedule,
            timezone=request.timezone,
            end_time=request.end_time,
            enabled=request.enabled,
            on_run_completed=completed,
            user_id=_configurable(from_json(order.kwargs)).get(_USER_ID),
            metadata=dumped(request.metadata),
            payload=dumped(payload),
            order=ranked,
        )


async def _asked(
    rule: Rule, payload: Object, cron_id: UUID, thread_id: UUID | None, by: Access
) -> tuple[Object, Filter]:
    """The payload with the metadata as the project's handler leaves it."""
    given: Any = payload.get("metadata")
    if by.is_free:
        return payload, ANY
    value: Object = {
        "cron_id": cron_id,
        "thread_id": thread_id,
        "payload": payload,
        "schedule": payload.get("schedule"),
        "end_time": payload.get("end_time"),
        "user_id": None if by.caller is None else by.caller.identity,
        "metadata": {**given} if isinstance(given, dict) else {},
    }
    found = await by.to(rule, value)
    # What is no metadata at all is refused with the rest of the form.
    is_formed = given is None or isinstance(given, dict)
    return {**payload, "metadata": value["metadata"]} if is_formed else payload, found


async def _visible(form: F, by: Access, *, after: int) -> tuple[F, Condition]:
    """What of crons the caller may find: by their own metadata, and by that of the threads and
    assistants they are about."""
    form, found = await by.form(rules.CRONS_SEARCH, form)
    own = found.on("crons.metadata", after=after)
    if by.is_free:
        return form, own
    texts, values = [own.text], [*own.values]
    for rule, table, why_else in (
        (rules.THREADS_SEARCH, "threads", "crons.thread_id IS NULL"),
        (rules.ASSISTANTS_SEARCH, "assistants", "false"),
    ):
        seen = await by.to(rule, {"metadata": {}})
        if seen.is_open:
            continue
        if table == "assistants":
            # A graph's own one is everybody's.
            seen = either(seen, filter_of({"created_by": "system"}))
        about = seen.on(f"{table}.metadata", after=after + len(values))
        key = f"{table[:-1]}_id"
        texts.append(
            f"({why_else} OR EXISTS (SELECT FROM {table} WHERE {table}.tenant = crons.tenant"
            f" AND {table}.{key} = crons.{key} AND {about.text}))"
        )
        values += about.values
    return form, Condition(" AND ".join(texts), values)


def _known(given: Object) -> Object:
    """The fields of a cron. Those that mean something for runs only are refused later."""
    allowed = {*CronRequest.model_fields, *RunCreate.model_fields}
    return {name: value for name, value in given.items() if name in allowed}


def _changed(payload: Object, changes: Object) -> Object:
    metadata = changes.get("metadata")
    if isinstance(metadata, dict):
        changes = {**changes, "metadata": {**(payload.get("metadata") or {}), **metadata}}
    elif metadata is None:
        changes = {name: value for name, value in changes.items() if name != "metadata"}
    return {**payload, **changes}


def _as_before(order: CreateRun, before: CreateRun) -> CreateRun:
    """The order, for the user it was for."""
    was = _configurable(from_json(before.kwargs))
    kwargs: Object = from_json(order.kwargs)
    configurable = {
        name: value for name, value in _configurable(kwargs).items() if name not in _OF_USER[:-1]
    }
    if _USER_ID in was:
        configurable |= {name: was[name] for name in _OF_USER if name in was}
    kwargs["config"]["configurable"] = configurable
    return order.model_copy(
        update={
            "kwargs": dumped(kwargs),
            "user_key": before.user_key,
            "user": before.user,
            "encryption_context": before.encryption_context,
        }
    )


def _configurable(kwargs: Object) -> Object:
    return kwargs["config"].get("configurable") or {}
