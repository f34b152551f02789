"""What the gateway writes into rows is encrypted here, and what others have written is opened."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from bedplate.graphs.sealing import Metadata, Sealing, dumped, is_mark
from bedplate_proto.runs import CreateRun

from .access.access import Access
from .access.filters import ANY, Filter
from .errors import Unprocessable
from .forms import Object

# The JSON parts of an order, with whose field each one is.
_OF_ORDER = (
    ("kwargs", "run", "kwargs"),
    ("metadata", "run", "metadata"),
    ("assistant_metadata", "run", "metadata"),
    ("thread_metadata", "thread", "metadata"),
    ("new_thread_metadata", "thread", "metadata"),
    ("thread_config", "thread", "config"),
    ("user", "run", "user"),
)


class Sealer:
    """Costs nothing where the project encrypts no JSON."""

    def __init__(self, sealing: Sealing | None = None) -> None:
        self._sealing = sealing

    @property
    def is_on(self) -> bool:
        return self._sealing is not None

    async def text(
        self, value: Any, model: str, field: str, *, by: Access, found: Filter = ANY
    ) -> str:
        """JSON text for a row. Raises `Unprocessable` when that would hide from `found`, the
        caller's filter, what it looks at, and `HandlerFailed`."""
        text = dumped(value)
        if (sealing := self._sealing) is None or sealing.leaves(text):
            return text
        return await _sealed(sealing, value, model, field, by.encryption_context, found)

    async def order(self, order: CreateRun, *, found: Filter = ANY) -> CreateRun:
        """Raises as `text` does."""
        if (sealing := self._sealing) is None:
            return order
        context: Object | None = None
        if order.encryption_context is not None:
            context = from_json(order.encryption_context)
        changed: Object = {}
        for name, model, field in _OF_ORDER:
            text: str | None = getattr(order, name)
            if text is not None and not sealing.leaves(text):
                value = from_json(text)
                changed[name] = await _sealed(sealing, value, model, field, context, found)
        return order.model_copy(update=changed) if changed else order

    async def opened(self, row: str) -> str:
        """A row that another service answered with. Raises `HandlerFailed`."""
        return row if self._sealing is None else await self._sealing.opened_text(row)

    async def opened_value(self, value: Any) -> Any:
        """The same of its JSON value."""
        return value if self._sealing is None else await self._sealing.opened(value)

    async def opened_answer(self, answer: bytes) -> bytes:
        """The same of bytes."""
        return answer if self._sealing is None else (await self.opened(answer.decode())).encode()


async def _sealed(
    sealing: Sealing,
    value: Any,
    model: str,
    field: str,
    context: Metadata | None,
    found: Filter,
) -> str:
    sealed = await sealing.sealed(value, model=model, field=field, context=context)
    if field == "metadata":
        for name in sorted(found.fields & sealed.keys()):
            if is_mark(sealed[name]):
                raise Unprocessable(
                    f"metadata.{name}: must not be encrypted: authorization filters by it"
                )
    return dumped(sealed)
