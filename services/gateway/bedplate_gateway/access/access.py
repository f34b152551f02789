"""One caller in one request: what verbs ask before they act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel

from bedplate.kernel.errors import Conflict, NotFound

from ..forms import Config, Object
from .callers import Caller
from .filters import ANY, Filter
from .handlers import Broken, Handlers
from .objects import Objects
from .rules import Named, Rule

F = TypeVar("F", bound=BaseModel)

THREAD_MISSING = "Thread not found."
Confirm = Callable[[], Awaitable[None]]
"""Raises `Foreign` as soon as the thread is known to be somebody else's."""


class Foreign(NotFound):
    """There is no such thing."""


class Access:
    """Ask it with `to` or `form` under a rule; the `Filter` that comes back narrows a search, or
    judges an object (`thread`, `object`). `caller` None: nothing is configured, everything may be
    done."""

    caller: Caller | None = None

    def __init__(self, encryption_context: dict[str, Any] | None = None) -> None:
        """The context: what the project's encryption handlers are told of what is written now."""
        self.encryption_context = encryption_context

    @property
    def is_free(self) -> bool:
        return True

    @property
    def user(self) -> Object | None:
        """Who it is, for a graph."""
        return None

    async def to(self, rule: Rule, value: Object) -> Filter:
        """Raises `Denied`; the project's handler may change `value`."""
        del rule, value
        return ANY

    async def form(self, rule: Rule, form: F, **more: Any) -> tuple[F, Filter]:
        """The form as the handler leaves it. `more` is shown beside its fields."""
        del rule, more
        return form, ANY

    async def object(self, kind: str, known_by: UUID, found: Filter, *, missing: str) -> None:
        """Raises `Foreign` with the text `missing` unless the object is there and matches."""
        del kind, known_by, found, missing

    async def thread(
        self,
        thread_id: UUID,
        found: Filter,
        *,
        missing: str | None = None,
        may_be_new: bool = False,
    ) -> None:
        """Likewise; `may_be_new`: a thread that is not there is not foreign."""
        del thread_id, found, missing, may_be_new

    async def id_to_take(self, kind: str, known_by: UUID, found: Filter, *, taken: str) -> None:
        """Raises `Conflict` with the text `taken` when the id is that of somebody else's object."""
        del kind, known_by, found, taken

    async def metadata(self, kind: str, known_by: UUID) -> Object:
        """What filters judge, sealed as it is stored; empty for what is not there."""
        del kind, known_by
        return {}

    async def to_thread(self, rule: Rule, thread_id: UUID, **value: Any) -> None:
        """Ask for something that is to be done with a thread as a whole."""
        found = await self.to(rule, {"thread_id": thread_id, **value})
        await self.thread(thread_id, found)

    async def own_threads(self, rule: Rule, thread_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those with which this may be done."""
        del rule
        return thread_ids

    def confirmation(self, thread_id: UUID) -> Confirm | None:
        """For a stream of a thread that was not there when it was opened; None: it need not be
        confirmed."""
        del thread_id
        return None


FREE = Access()


class Guarded(Access):
    """Where authentication is configured."""

    def __init__(
        self,
        handlers: Handlers,
        caller: Caller,
        objects: Objects,
        encryption_context: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(encryption_context)
        self.caller = caller
        self._handlers = handlers
        self._objects = objects
        self._unconfirmed: dict[UUID, Filter] = {}
        self.asked: set[Named] = set()

    @property
    def is_free(self) -> bool:
        return False

    @property
    def user(self) -> Object | None:
        return None if self.caller is None else dict(self.caller.fields)

    async def to(self, rule: Rule, value: Object) -> Filter:
        assert self.caller is not None
        found = await self._handlers.ask(rule, self.caller, value)
        self.asked.add(rule.name)
        return found

    async def form(self, rule: Rule, form: F, **more: Any) -> tuple[F, Filter]:
        shown = {**{name: _shown(name, value) for name, value in form}, **more}
        value = dict(shown)
        if isinstance(value.get("metadata"), dict):
            value["metadata"] = dict(value["metadata"])
        found = await self.to(rule, value)
        changed = {
            name: value[name]
            for name in type(form).model_fields
            if name in value and name not in more and value[name] != shown[name]
        }
        if not isinstance(changed.get("metadata", {}), dict):
            raise Broken
        return form.model_copy(update=changed), found

    async def own_threads(self, rule: Rule, thread_ids: Sequence[UUID]) -> Sequence[UUID]:
        # Of none, too: then nothing is done.
        self.asked.add(rule.name)
        own: list[UUID] = []
        for thread_id in thread_ids:
            try:
                await self.to_thread(rule, thread_id)
            except Foreign:
                continue
            own.append(thread_id)
        return own

    async def object(self, kind: str, known_by: UUID, found: Filter, *, missing: str) -> None:
        if found.is_open:
            return
        metadata = await self._objects.metadata(kind, known_by)
        if metadata is None or not found.matches(metadata):
            raise Foreign(missing)

    async def id_to_take(self, kind: str, known_by: UUID, found: Filter, *, taken: str) -> None:
        if found.is_open:
            return
        metadata = await self._objects.metadata(kind, known_by)
        if metadata is not None and not found.matches(metadata):
            raise Conflict(taken)

    async def metadata(self, kind: str, known_by: UUID) -> Object:
        return await self._objects.metadata(kind, known_by) or {}

    async def thread(
        self,
        thread_id: UUID,
        found: Filter,
        *,
        missing: str | None = None,
        may_be_new: bool = False,
    ) -> None:
        if found.is_open:
            return
        metadata = await self._objects.metadata("thread", thread_id)
        if metadata is None and may_be_new:
            self._unconfirmed[thread_id] = found
            return
        if metadata is None or not found.matches(metadata):
            raise Foreign(missing or THREAD_MISSING)

    def confirmation(self, thread_id: UUID) -> Confirm | None:
        if (found := self._unconfirmed.get(thread_id)) is None:
            return None

        async def confirm() -> None:
            # Events of a thread without a row are those of one that was removed.
            if thread_id in self._unconfirmed:
                await self.thread(thread_id, found)
                del self._unconfirmed[thread_id]

        return confirm


def stamped(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """What a handler has written into metadata: also for the thread that is made with a run."""
    return {key: value for key, value in after.items() if key not in before or before[key] != value}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Config):
        return value.given()
    if value is None and name == "metadata":
        # Handlers write into it.
        return cast("Object", {})
    return value
