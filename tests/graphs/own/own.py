"""A store and a checkpointer that a project brings itself; both forget when their process ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore


@asynccontextmanager
async def store() -> AsyncIterator[InMemoryStore]:
    yield InMemoryStore()


@asynccontextmanager
async def checkpointer() -> AsyncIterator[InMemorySaver]:
    yield InMemorySaver()
