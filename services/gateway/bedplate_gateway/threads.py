"""Threads: what is theirs alone is written here, what touches runs by order of the scheduler."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from pydantic_core import from_json

from bedplate.bus.broker import Bus
from bedplate.chassis.ids import uuid7
from bedplate.kernel.errors import BedplateError, Conflict, NotFound
from bedplate.ledger import NewThread, ThreadChange
from bedplate.ledger import Threads as KeptThreads
from bedplate_proto import subjects
from bedplate_proto.threads import (
    FOR_EVER,
    CopyCheckpoints,
    CopyThread,
    DeleteThread,
    KeepLatest,
    PruneAnswer,
    PruneThreads,
    ThreadTtl,
)
from bedplate_proto.vocabulary import IfExists

from .access import rules
from .access.access import Access, stamped
from .access.filters import Filter
from .asking import Page, ordering, page_of
from .errors import Unsupported
from .extraction import extracted, extraction_of, roots_of
from .forms import Object, ThreadCreate, ThreadFilter, ThreadPatch, ThreadPrune, ThreadSearch
from .json_text import dumped, with_member
from .rows import Rows, patience
from .runs import EXECUTOR_S_MAX, THREAD_MISSING
from .sealer import Sealer
from .state import States

# The first threads in the order that is asked for.
_FIRST = (
    "thread_id = ANY(ARRAY(SELECT thread_id FROM threads AS first"
    " WHERE tenant = $1 AND doomed_at IS NULL ORDER BY {order} LIMIT 500))"
)
THREAD_EXISTS = "Thread already exists."


class Threads:
    def __init__(
        self,
        kept: KeptThreads,
        rows: Rows,
        bus: Bus,
        states: States,
        *,
        tenant: str,
        ttl: ThreadTtl = FOR_EVER,
        keeps_own: bool = False,
    ) -> None:
        """`ttl` is that of threads that ask for none; `keeps_own`: the project has a
        checkpointer of its own."""
        self._kept = kept
        self._ttl = ttl
        self._rows = rows
        self._bus = bus
        self._states = states
        self._tenant = tenant
        self._keeps_own = keeps_own
        self._sealer = Sealer(rows.sealing)

    async def create(self, form: ThreadCreate, *, by: Access) -> bytes:
        """The row. Raises `Conflict` when the id is taken."""
        thread_id = form.thread_id or uuid7()
        form, found = await by.form(rules.THREADS_CREATE, form, thread_id=thread_id)
        if form.thread_id is not None:
            await by.id_to_take("thread", thread_id, found, taken=THREAD_EXISTS)
        order = NewThread(
            tenant=self._tenant,
            thread_id=thread_id,
            metadata=await self._metadata(form.metadata, by, found),
            if_exists=form.if_exists,
            ttl=_ttl(form),
        )
        if not form.supersteps:
            return await self._made(order)
        return await self._create_with_state(order, form, by)

    async def _create_with_state(self, order: NewThread, form: ThreadCreate, by: Access) -> bytes:
        self._states.check_graph(form.metadata)
        # Of several who create the thread at once, only the one that made it writes its state.
        alone = replace(order, if_exists=IfExists.RAISE)
        try:
            await self._made(alone)
        except Conflict:
            if order.if_exists is IfExists.RAISE:
                raise
            return await self._made(order)
        try:
            await self._states.apply(order.thread_id, form.supersteps or [], by=by)
        except BedplateError:
            # All or nothing: a thread without the state it was asked for would hide the mistake.
            await self._bus.order(
                subjects.DELETE_THREAD,
                DeleteThread(tenant=self._tenant, thread_id=order.thread_id),
            )
            raise
        return (await self.get(order.thread_id)).encode()

    async def _made(self, order: NewThread) -> bytes:
        async with patience():
            row = await self._kept.create(order, default_ttl=self._ttl)
        return (await self._sealer.opened(row)).encode()

    async def get(self, thread_id: UUID) -> str:
        row = await self._row(thread_id)
        if row is None:
            raise NotFound(THREAD_MISSING, thread_id=str(thread_id))
        return row

    async def get_with_ttl(self, thread_id: UUID) -> str:
        row = await self._rows.one("get_thread_with_ttl", self._tenant, thread_id)
        if row is None:
            raise NotFound(THREAD_MISSING, thread_id=str(thread_id))
        return with_member(row["row"], "ttl", row["ttl"] or "null")

    async def storage(self, thread_id: UUID) -> str:
        """What its checkpoints take, in bytes."""
        if self._keeps_own:
            raise Unsupported("The project has a checkpointer of its own: its size is not known.")
        row = await self._rows.value("read_storage", self._tenant, thread_id)
        if row is None:
            raise NotFound(THREAD_MISSING, thread_id=str(thread_id))
        return row

    async def update(self, thread_id: UUID, form: ThreadPatch, *, by: Access) -> bytes:
        """The row, its metadata merged key by key."""
        form, found = await by.form(rules.THREADS_UPDATE, form, thread_id=thread_id)
        await by.thread(thread_id, found)
        change = ThreadChange(
            tenant=self._tenant,
            thread_id=thread_id,
            metadata=await self._metadata(form.metadata, by, found),
            ttl=_ttl(form),
        )
        async with patience():
            row = await self._kept.update(change)
        return (await self._sealer.opened(row)).encode()

    async def _metadata(self, metadata: Object, by: Access, found: Filter) -> str:
        return await self._sealer.text(metadata, "thread", "metadata", by=by, found=found)

    async def delete(self, thread_id: UUID) -> None:
        order = DeleteThread(tenant=self._tenant, thread_id=thread_id)
        await self._bus.order(subjects.DELETE_THREAD, order)

    async def copy(self, thread_id: UUID, *, by: Access) -> bytes:
        """The copy's row."""
        copy_id = uuid4()
        await by.to_thread(rules.THREADS_READ, thread_id)
        before = await self._sealer.opened_value(await by.metadata("thread", thread_id))
        after = {**before}
        value: Object = {"thread_id": copy_id, "metadata": after}
        found = await by.to(rules.THREADS_CREATE, value)
        order = CopyThread(
            tenant=self._tenant,
            thread_id=thread_id,
            copy_id=copy_id,
            metadata=await self._metadata(stamped(before, value["metadata"]), by, found),
        )
        row = await self._bus.order(subjects.COPY_THREAD, order)
        if self._keeps_own:
            ask = CopyCheckpoints(**order.model_dump())
            try:
                await self._bus.order(subjects.COPY_CHECKPOINTS, ask, limit_s=EXECUTOR_S_MAX)
            except BedplateError:
                # A copy without the state it shows would be a lie.
                await self.delete(order.copy_id)
                raise
        return await self._sealer.opened_answer(row)

    async def prune(self, form: ThreadPrune, *, by: Access) -> int:
        """How many of these threads there were. Those of others are none."""
        thread_ids = await by.own_threads(rules.THREADS_DELETE, form.thread_ids)
        if not thread_ids:
            return 0
        if form.strategy == "delete":
            order = PruneThreads(tenant=self._tenant, thread_ids=list(thread_ids))
            answer = await self._bus.order(subjects.PRUNE_THREADS, order)
            return PruneAnswer.model_validate_json(answer).pruned_count
        found = await self._rows.all("find_threads_graphs", self._tenant, thread_ids)
        of_graph: dict[str, list[UUID]] = {}
        for row in found:
            # A thread without a graph has no checkpoints.
            if row["graph_id"] is not None:
                of_graph.setdefault(row["graph_id"], []).append(row["thread_id"])
        for graph_id, thread_ids in of_graph.items():
            keep = KeepLatest(tenant=self._tenant, graph_id=graph_id, thread_ids=thread_ids)
            await self._bus.order(subjects.KEEP_LATEST, keep, limit_s=EXECUTOR_S_MAX)
        return len(found)

    async def search(self, form: ThreadSearch, *, by: Access) -> Page:
        form, found_by = await by.form(rules.THREADS_SEARCH, form)
        access = found_by.on("metadata", after=9)
        order = ordering(form.sort_by or "updated_at", form.sort_order, last="thread_id")
        wanted = extraction_of(form.extract) if form.extract else []
        # What is encrypted is not found by a path: whole parts are read, and looked into here.
        asked = wanted if not self._sealer.is_on else roots_of(wanted)
        extraction = dumped(asked) if wanted else None
        given = (
            self._tenant,
            form.ids,
            _containing(form.metadata),
            _containing(form.values),
            form.status,
            form.select or None,
            extraction,
            form.limit + 1,
            form.offset,
            *access.values,
        )
        found = await self._first(form, given, order=order, access=access.text)
        rows = [
            row["row"]
            if row["extracted"] is None
            else with_member(row["row"], "extracted", self._extracted(row["extracted"], wanted))
            for row in found
        ]
        return page_of(rows, limit=form.limit, offset=form.offset)

    def _extracted(self, text: str, wanted: list[Object]) -> str:
        return dumped(extracted(from_json(text), wanted)) if self._sealer.is_on else text

    async def _first(
        self, form: ThreadSearch, given: tuple[Any, ...], *, order: str, access: str
    ) -> list[Any]:
        """What PostgreSQL cannot know is whether many threads have this metadata. If so, the first
        of them all hold a page, and if not, there are few to sort: whichever it is, the other way
        would read every thread."""
        search = partial(self._rows.page, "search_threads", *given, access=access)
        if not form.metadata or form.ids:
            return await search(order=order, among="true")
        found = await search(order=order, among=_FIRST.format(order=order))
        if len(found) > form.limit:
            return found
        # No index has this order.
        return await search(order=f"(SELECT 0), {order}", among="true")

    async def count(self, form: ThreadFilter, *, by: Access) -> int:
        form, found_by = await by.form(rules.THREADS_SEARCH, form)
        access = found_by.on("metadata", after=4)
        return await self._rows.value(
            "count_threads",
            self._tenant,
            _containing(form.metadata),
            _containing(form.values),
            form.status,
            *access.values,
            access=access.text,
        )

    async def _row(self, thread_id: UUID) -> str | None:
        return await self._rows.value("get_thread", self._tenant, thread_id)


def _ttl(form: ThreadCreate | ThreadPatch) -> ThreadTtl | None:
    """None: not given."""
    if form.ttl is not None:
        return ThreadTtl(minutes=form.ttl.ttl, strategy=form.ttl.strategy)
    return FOR_EVER if "ttl" in form.model_fields_set else None


def _containing(given: Object | None) -> str | None:
    """An empty filter is none: it would leave out threads that have no values yet."""
    return dumped(given) if given else None
