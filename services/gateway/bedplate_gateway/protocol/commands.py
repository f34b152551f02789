"""What a client may order over the protocol: start a run, answer a question, ask for the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import from_json

from bedplate.kernel.errors import NotFound
from bedplate_proto.vocabulary import IfNotExists, OnCompletion, RunStatus, ThreadStatus

from ..access import rules
from ..access.access import Access
from ..checking import checked
from ..errors import Unprocessable
from ..following import Followings
from ..forms import Config, Form, Object, OptionalObject, RunCreate
from ..ids import uuid_or_none
from ..rows import Rows
from ..runs import Runs
from .agent_tree import AgentTree, tells_of_agents
from .answers import Command, Failed
from .envelopes import State
from .thread_events import ThreadEvents

F = TypeVar("F", bound=Form)

# How long a command waits for a run that is about to stop at a question.
_SETTLE_S = 5.0
_RESPONSES_MAX = 1000
# A run whose events are gone.
_STATES: dict[RunStatus, State] = {
    RunStatus.PENDING: "running",
    RunStatus.RUNNING: "running",
    RunStatus.SUCCESS: "completed",
    RunStatus.ERROR: "failed",
    RunStatus.TIMEOUT: "failed",
    RunStatus.INTERRUPTED: "interrupted",
}


class RunStart(Form):
    assistant_id: Annotated[str, Field(min_length=1)]
    input: Any = None
    config: Config | None = None
    context: Object | None = None
    metadata: OptionalObject = {}
    multitask_strategy: str | None = Field(
        None, validation_alias=AliasChoices("multitaskStrategy", "multitask_strategy")
    )


class Response(Form):
    interrupt_id: str
    response: Any


class InputRespond(Form):
    """One answer in place, or several in `responses`."""

    responses: Annotated[list[Response], Field(min_length=1, max_length=_RESPONSES_MAX)]
    update: Any = None
    goto: Any = None
    config: Config | None = None
    metadata: OptionalObject = {}

    @model_validator(mode="before")
    @classmethod
    def _one_as_many(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "responses" in given:
            return given
        if "interrupt_id" not in given or "response" not in given:
            raise ValueError("give interrupt_id and response, or responses")
        one = {"interrupt_id": given["interrupt_id"], "response": given["response"]}
        return {**given, "responses": [one]}


def _no_run(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or uuid_or_none(value) is None):
        raise ValueError("must be a UUID")
    return value


class GetTree(Form):
    run_id: Annotated[UUID | None, BeforeValidator(_no_run)] = None


@dataclass(frozen=True)
class _Pending:
    """What a thread waits for. `current_run` None: no run is under way. `is_waiting`: its last run
    ended at these questions; one that failed beside them has left them open."""

    interrupts: Sequence[str]
    is_waiting: bool
    current_run: UUID | None
    is_busy: bool
    assistant: str | None


@dataclass(frozen=True)
class Sender:
    """Who sends commands, and about which thread. `headers` go with the runs they start."""

    thread_id: UUID
    request_id: str
    by: Access
    headers: Mapping[str, str]


class Commands:
    def __init__(
        self,
        runs: Runs,
        followings: Followings,
        events: ThreadEvents,
        rows: Rows,
        *,
        tenant: str,
    ) -> None:
        self._runs = runs
        self._followings = followings
        self._events = events
        self._rows = rows
        self._tenant = tenant

    async def carry_out(
        self,
        command: Command,
        sender: Sender,
    ) -> Object:
        """The result. Raises `Failed`, `Foreign`, and what ordering a run raises."""
        match command.method:
            case "run.start":
                form = form_of(RunStart, command)
                return await self._start(form, sender)
            case "input.respond":
                answer = form_of(InputRespond, command)
                return await self._respond(answer, sender)
            case "agent.getTree":
                asked = form_of(GetTree, command)
                await sender.by.to_thread(rules.THREADS_READ, sender.thread_id)
                return await self._tree(sender.thread_id, asked.run_id)
            case other:
                raise Failed("unknown_command", f"Unknown command: {other[:200]}")

    async def _start(
        self,
        form: RunStart,
        sender: Sender,
    ) -> Object:
        configurable = (form.config.configurable if form.config is not None else None) or {}
        forked = configurable.get("checkpoint_id")
        if forked is not None and not (isinstance(forked, str) and uuid_or_none(forked)):
            raise Failed("invalid_argument", "config.configurable.checkpoint_id: must be a UUID")
        given: Object = {
            "assistant_id": form.assistant_id,
            "input": form.input,
            "config": form.config,
            "context": form.context,
            "metadata": form.metadata,
            "multitask_strategy": form.multitask_strategy,
        }
        if form.input is not None and forked is None:
            pending = await self._pending(sender.thread_id, about_to_ask=True)
            if pending is not None and pending.interrupts and pending.is_waiting:
                given |= {"input": None, "command": {"resume": form.input}}
        run_id = await self._order(given, sender)
        return {"run_id": str(run_id)}

    async def _respond(
        self,
        form: InputRespond,
        sender: Sender,
    ) -> Object:
        asked = [one.interrupt_id for one in form.responses]
        pending = await self._pending(sender.thread_id, about_to_ask=False)
        known = [] if pending is None or pending.is_busy else pending.interrupts
        if missing := [one for one in asked if one not in known]:
            # Nobody learns by guessing what somebody else's thread waits for.
            await sender.by.to_thread(rules.THREADS_READ, sender.thread_id)
            raise Failed("no_such_interrupt", f"No such interrupt is pending: {missing[0][:200]}")
        assert pending is not None
        resume = {one.interrupt_id: one.response for one in form.responses}
        command: Object = {"resume": resume, "update": form.update, "goto": form.goto}
        given: Object = {
            "assistant_id": pending.assistant or "",
            "command": {key: value for key, value in command.items() if value is not None},
            "config": form.config,
            "metadata": form.metadata,
        }
        await self._order(given, sender)
        return {}

    async def _order(self, given: Object, sender: Sender) -> UUID:
        config: Config | None = given.pop("config")
        form = _checked_run(
            {
                **given,
                "config": None if config is None else config.given(),
                # For readers of the older streams; the protocol's own events come besides.
                "stream_mode": ["values"],
                "stream_subgraphs": True,
                "stream_resumable": True,
                "on_completion": OnCompletion.KEEP,
                "if_not_exists": IfNotExists.CREATE,
            }
        )
        ready = await self._runs.ready(
            form,
            thread_id=sender.thread_id,
            request_id=sender.request_id,
            by=sender.by,
            headers=sender.headers,
            speaks_protocol=True,
        )
        await self._runs.create(ready)
        return ready.address.run_id

    async def _pending(self, thread_id: UUID, *, about_to_ask: bool) -> _Pending | None:
        """What the thread waits for; None when there is no such thread.

        A client may have seen a question before the run that asks it is over: that end is awaited.
        `about_to_ask`: only if the run's newest event is one.
        """
        pending = await self._read_pending(thread_id)
        if pending is None or not pending.is_busy or pending.current_run is None:
            return pending
        address = self._runs.address(thread_id, pending.current_run)
        if about_to_ask:
            newest = await self._followings.newest(address)
            if newest is None or not _asks(newest.name, newest.data):
                # Its end may have come after the question since the row was read.
                return await self._read_pending(thread_id)
        following = await self._followings.follow(address)
        try:
            async with asyncio.timeout(_SETTLE_S):
                async for _ in following.parts():
                    pass
        except TimeoutError:
            pass
        finally:
            await following.close()
        return await self._read_pending(thread_id)

    async def _read_pending(self, thread_id: UUID) -> _Pending | None:
        row = await self._rows.one("find_pending_input", self._tenant, thread_id)
        if row is None:
            return None
        of_task: dict[str, list[Object]] = from_json(row["interrupts"])
        return _Pending(
            [str(one["id"]) for found in of_task.values() for one in found],
            row["status"] == ThreadStatus.INTERRUPTED,
            row["current_run"],
            row["is_busy"],
            row["assistant_id"] or row["graph_id"],
        )

    async def _tree(self, thread_id: UUID, run_id: UUID | None) -> Object:
        """Of this run, or of the last one that the events tell of."""
        about, agents = "", AgentTree()
        async for events in self._events.reader(thread_id).stored_parts():
            for event in events:
                if not tells_of_agents(event) or run_id not in (None, UUID(event.run_id)):
                    continue
                if event.run_id != about:
                    about, agents = event.run_id, AgentTree()
                for envelope in await self._events.shown([event]):
                    agents.add(envelope)
        if (tree := agents.tree()) is not None:
            return {"tree": tree}
        if run_id is None:
            raise Failed("no_such_run", "The thread has no run that can be told of")
        try:
            found = await self._runs.find(run_id, thread_id=thread_id)
        except NotFound as error:
            raise Failed("no_such_run", f"No such run: {run_id}") from error
        root = {"namespace": [], "status": _STATES[found.status], "graph_name": found.graph_id}
        return {"tree": root}


def form_of(form: type[F], command: Command) -> F:
    """The command's params. Raises `Failed`."""
    try:
        return checked(form, command.params)
    except Unprocessable as error:
        raise Failed("invalid_argument", error.message) from error


def _checked_run(given: Object) -> RunCreate:
    try:
        return checked(RunCreate, given)
    except Unprocessable as error:
        raise Failed("invalid_argument", error.message) from error


def _asks(name: str, data: bytes) -> bool:
    return data.startswith(b'{"method":"input.requested"') or (
        name in ("values", "updates") and b'"__interrupt__"' in data
    )
