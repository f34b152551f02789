"""State of odd types, and a context schema."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from shapes import Colour, Parcel, Point


@dataclass
class Context:
    user: str = "nobody"
    limit: int = 3


class Typed(TypedDict, total=False):
    pauses: bool
    instant: datetime
    day: date
    span: timedelta
    price: Decimal
    id: UUID
    names: set[str]
    blob: bytes
    pair: tuple[int, str]
    colour: Colour
    point: Point
    parcel: Parcel
    kinds: dict[str, str]
    context: dict[str, Any]


async def make(state: Typed, runtime: Runtime[Context]) -> Typed:
    # None, whatever its type says, when the caller of the graph gives no context at all.
    context = runtime.context or Context()
    return {
        "instant": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "span": timedelta(minutes=90),
        "price": Decimal("19.90"),
        "id": UUID("018f0000-0000-7000-8000-000000000001"),
        "names": {"ann"},
        "blob": b"\x00\xff",
        "pair": (1, "one"),
        "colour": Colour.BLUE,
        "point": Point(1, 2),
        "parcel": Parcel(label="tea", weight_g=250),
        "context": {"user": context.user, "limit": context.limit},
    }


async def look(state: Typed) -> Typed:
    """With `pauses`, what it sees on resumption has been through the checkpointer."""
    if state.get("pauses"):
        interrupt("go on?")
    return {"kinds": {name: type(value).__name__ for name, value in state.items()}}


graph = (
    StateGraph(Typed, context_schema=Context)
    .add_sequence([make, look])
    .add_edge(START, "make")
    .compile(name="typed")
)
