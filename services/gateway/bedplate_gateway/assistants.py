"""Assistants: a graph with a config, a context and metadata. This module is their only writer.

A run asks for its assistant each time, so what was read is kept for two seconds, and dropped when
any gateway writes (a hint that may be lost; two seconds later it is true again anyway).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID, uuid4

from pydantic_core import from_json

from bedplate.bus.broker import Bus
from bedplate.chassis.log import get_logger
from bedplate.kernel.errors import Conflict, NotFound
from bedplate.kernel.setup import Setup
from bedplate_proto import subjects
from bedplate_proto.crons import DeleteCronsOfAssistant
from bedplate_proto.runs import CancelRun
from bedplate_proto.threads import GatewayPoke, Nothing, PruneThreads, RegisterGraphs
from bedplate_proto.vocabulary import CancelAction, IfExists

from .access import rules
from .access.access import Access
from .asking import Page, ordering, page_of, setup_of
from .assistant_forms import (
    AssistantCreate,
    AssistantFilter,
    AssistantSearch,
    AssistantUpdate,
    AssistantVersion,
    AssistantVersions,
)
from .errors import Unprocessable
from .forms import Object
from .ids import system_assistant_id, uuid_or_none
from .json_text import dumped
from .rows import Rows
from .sealer import Sealer

log = get_logger()

RUN_NOT_FOUND = "Thread or assistant not found."
ASSISTANT_EXISTS = "Assistant already exists."
_KEPT_S = 2.0
_KEPT_MAX = 2000
# Threads and runs that go with their assistant, per statement.
_SWEPT_AT_ONCE = 500


@dataclass(frozen=True)
class Assistant:
    """What a run needs of its assistant."""

    assistant_id: UUID
    graph_id: str
    setup: Setup
    metadata: Object

    @property
    def is_default(self) -> bool:
        """The graph's own one, which belongs to nobody."""
        return self.assistant_id == system_assistant_id(self.graph_id)


class Assistants:
    def __init__(self, rows: Rows, bus: Bus, *, tenant: str) -> None:
        self._rows = rows
        self._bus = bus
        self._tenant = tenant
        self._sealer = Sealer(rows.sealing)
        self._kept: OrderedDict[UUID, tuple[float, Assistant]] = OrderedDict()
        self._graphs: tuple[float, list[str]] = (0.0, [])

    # -- for runs and graphs

    async def find(self, name: str) -> Assistant:
        """By id or graph name. Raises `NotFound` for an unknown id, `Unprocessable` for a name."""
        assistant_id = uuid_or_none(name)
        if assistant_id is not None:
            return await self._known(assistant_id, RUN_NOT_FOUND)
        try:
            return await self._known(system_assistant_id(name), "")
        except NotFound:
            known = ", ".join(await self.graphs()) or "none is registered yet"
            raise Unprocessable(
                f"Invalid assistant: '{name}'. Must be either the UUID of an assistant or the name"
                f" of a graph ({known})."
            ) from None

    async def at(self, name: str) -> Assistant:
        """By the part of a path, like `id_of`. Raises `NotFound`."""
        return await self._known(await self.id_of(name), missing(name).message)

    async def id_of(self, name: str) -> UUID:
        """A path may name the assistant's id, or the graph of a graph's own one."""
        if (assistant_id := uuid_or_none(name)) is not None:
            return assistant_id
        if name not in await self.graphs():
            raise Unprocessable("Invalid assistant ID: must be a UUID or the name of a graph")
        return system_assistant_id(name)

    async def graphs(self) -> list[str]:
        """Names of all graphs that executors have announced."""
        until, names = self._graphs
        if until < time.monotonic():
            names = [row["graph_id"] for row in await self._rows.all("list_graphs", self._tenant)]
            if names:
                self._graphs = (time.monotonic() + _KEPT_S, names)
        return names

    async def _known(self, assistant_id: UUID, text: str) -> Assistant:
        kept = self._kept.get(assistant_id)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        row = await self._rows.value("get_assistant", self._tenant, assistant_id)
        if row is None:
            raise NotFound(text, assistant_id=str(assistant_id))
        assistant = _assistant_of(row)
        self._kept[assistant_id] = (time.monotonic() + _KEPT_S, assistant)
        self._kept.move_to_end(assistant_id)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return assistant

    # -- for clients

    async def get(self, name: str) -> str:
        row = await self._rows.value("get_assistant", self._tenant, await self.id_of(name))
        if row is None:
            raise missing(name)
        return row

    async def create(self, form: AssistantCreate, *, by: Access) -> str:
        """The row. Raises `NotFound` for an unknown graph, `Conflict` for an id that is taken."""
        assistant_id = form.assistant_id or uuid4()
        form, found = await by.form(rules.ASSISTANTS_CREATE, form, assistant_id=assistant_id)
        if form.assistant_id is not None:
            await by.id_to_take("assistant", assistant_id, found, taken=ASSISTANT_EXISTS)
        await self._check_graph(form.graph_id)
        setup = setup_of(form.config, form.context)
        record = await self._rows.one(
            "create_assistant",
            self._tenant,
            assistant_id,
            form.graph_id,
            "Untitled" if form.name is None else form.name,
            form.description,
            await self._sealer.text(setup.config, "assistant", "config", by=by),
            await self._sealer.text(setup.context, "assistant", "context", by=by),
            await self._sealer.text(form.metadata, "assistant", "metadata", by=by, found=found),
        )
        if record is None or not (record["is_new"] or form.if_exists is IfExists.DO_NOTHING):
            raise Conflict(ASSISTANT_EXISTS, assistant_id=str(form.assistant_id))
        await self._changed()
        return record["row"]

    async def update(self, name: str, form: AssistantUpdate, *, by: Access) -> str:
        """The row of the next version; of this one when nothing is asked for."""
        assistant_id = await self.id_of(name)
        # By the client, whatever the project's handler adds.
        changes = form.changes
        form, found = await by.form(rules.ASSISTANTS_UPDATE, form, assistant_id=assistant_id)
        await by.object("assistant", assistant_id, found, missing=missing(name).message)
        if not changes:
            return await self.get(name)
        if form.graph_id is not None:
            await self._check_graph(form.graph_id)
        setup = setup_of(form.config, form.context)
        is_set_up = form.config is not None or form.context is not None
        sealed, metadata = self._sealer.text, form.metadata
        row = await self._rows.value(
            "update_assistant",
            self._tenant,
            assistant_id,
            form.graph_id,
            form.name,
            "description" in form.model_fields_set,
            form.description,
            await sealed(setup.config, "assistant", "config", by=by)
            if form.config is not None
            else None,
            await sealed(setup.context, "assistant", "context", by=by) if is_set_up else None,
            None
            if metadata is None
            else await sealed(metadata, "assistant", "metadata", by=by, found=found),
        )
        if row is None:
            raise missing(name)
        await self._changed()
        return row

    async def delete(self, name: str, *, deletes_threads: bool, by: Access) -> None:
        """Runs in flight are cancelled; with `deletes_threads` its threads go with it, but those of
        others stay."""
        assistant_id = await self.id_of(name)
        found = await by.to(rules.ASSISTANTS_DELETE, {"assistant_id": assistant_id})
        await by.object("assistant", assistant_id, found, missing=missing(name).message)
        # First, so that nothing is half done without a scheduler. A cron that is made meanwhile
        # goes when it is due.
        crons = DeleteCronsOfAssistant(tenant=self._tenant, assistant_id=assistant_id)
        await self._bus.order(subjects.DELETE_CRONS_OF_ASSISTANT, crons)
        if await self._rows.value("delete_assistant", self._tenant, assistant_id) is None:
            raise missing(name)
        await self._changed()
        active = await self._rows.all(
            "find_active_runs_of_assistant", self._tenant, assistant_id, _SWEPT_AT_ONCE
        )
        for run in active:
            order = CancelRun(
                tenant=self._tenant,
                thread_id=run["thread_id"],
                run_id=run["run_id"],
                action=CancelAction.INTERRUPT,
            )
            try:
                await self._bus.order(subjects.CANCEL_RUN, order)
            except NotFound:
                # It ended meanwhile.
                continue
        if deletes_threads:
            await self._delete_threads(assistant_id, by)

    async def _delete_threads(self, assistant_id: UUID, by: Access) -> None:
        after = UUID(int=0)
        while found := await self._rows.all(
            "find_threads_of_assistant", self._tenant, str(assistant_id), after, _SWEPT_AT_ONCE
        ):
            ids = [row["thread_id"] for row in found]
            after = ids[-1]
            if own := await by.own_threads(rules.THREADS_DELETE, ids):
                order = PruneThreads(tenant=self._tenant, thread_ids=list(own))
                await self._bus.order(subjects.PRUNE_THREADS, order)

    async def search(self, form: AssistantSearch, *, by: Access) -> Page:
        form, found_by = await by.form(rules.ASSISTANTS_SEARCH, form)
        access = found_by.on("metadata", after=7)
        order = ordering(form.sort_by or "created_at", form.sort_order, last="assistant_id")
        found = await self._rows.all(
            "search_assistants",
            self._tenant,
            None if form.metadata is None else dumped(form.metadata),
            form.graph_id,
            form.name,
            form.limit + 1,
            form.select or None,
            form.offset,
            *access.values,
            order=order,
            access=access.text,
        )
        return page_of([row["row"] for row in found], limit=form.limit, offset=form.offset)

    async def count(self, form: AssistantFilter, *, by: Access) -> int:
        form, found_by = await by.form(rules.ASSISTANTS_SEARCH, form)
        access = found_by.on("metadata", after=4)
        metadata = None if form.metadata is None else dumped(form.metadata)
        return await self._rows.value(
            "count_assistants",
            self._tenant,
            metadata,
            form.graph_id,
            form.name,
            *access.values,
            access=access.text,
        )

    async def versions(self, name: str, form: AssistantVersions) -> Page:
        """Newest first. Raises `NotFound`."""
        found = await self._rows.all(
            "list_assistant_versions",
            self._tenant,
            await self.id_of(name),
            None if form.metadata is None else dumped(form.metadata),
            form.limit + 1,
            form.offset,
        )
        if not found:
            raise missing(name)
        rows = [row["row"] for row in found if row["row"] is not None]
        return page_of(rows, limit=form.limit, offset=form.offset)

    async def use_version(self, name: str, form: AssistantVersion) -> str:
        """The row, as it was in that version; the next update is a new one. Raises `NotFound`."""
        row = await self._rows.value(
            "use_assistant_version", self._tenant, await self.id_of(name), form.version
        )
        if row is None:
            raise NotFound(f"Assistant '{name}' with version {form.version} not found.")
        await self._changed()
        return row

    # -- for executors and other gateways

    async def register(self, order: RegisterGraphs) -> Nothing:
        """Graphs that can be run from now on, each with its own assistant. Idempotent."""
        if order.tenant != self._tenant:
            return Nothing()
        told = order.graphs
        await self._rows.all(
            "register_graphs",
            self._tenant,
            [graph.graph_id for graph in told],
            [system_assistant_id(graph.graph_id) for graph in told],
            [graph.name for graph in told],
            [graph.description for graph in told],
        )
        log.info("graphs.registered", graphs=[graph.graph_id for graph in told])
        await self._changed()
        return Nothing()

    async def on_poke(self, _: GatewayPoke) -> None:
        self._forget()

    async def _check_graph(self, graph_id: str) -> None:
        known = await self.graphs()
        if graph_id not in known:
            names = ", ".join(known) or "none is registered yet"
            raise NotFound(f"Graph '{graph_id}' not found. Known graphs: {names}.")

    async def _changed(self) -> None:
        self._forget()
        await self._bus.hint(subjects.GATEWAY_POKE, GatewayPoke(what="assistants"))

    def _forget(self) -> None:
        self._kept.clear()
        self._graphs = (0.0, [])


def missing(name: str) -> NotFound:
    return NotFound(f"Assistant with ID '{name}' not found.", assistant_id=name)


def _assistant_of(row: str) -> Assistant:
    read: Object = from_json(row)
    return Assistant(
        assistant_id=UUID(read["assistant_id"]),
        graph_id=read["graph_id"],
        setup=Setup(read["config"], read["context"]),
        metadata=read["metadata"],
    )
