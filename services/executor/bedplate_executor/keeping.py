"""What graphs keep things in: our checkpointer and store, set up as the project asks, or its
own."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from bedplate.graphs.config import ProjectConfig
from bedplate.graphs.embedding import embeddings_of
from bedplate.graphs.library import BaseStore
from bedplate.graphs.own_parts import opened
from bedplate.graphs.persistence import StoreBlock
from bedplate.graphs.store import PostgresStore
from bedplate.graphs.vectors import Vectors


async def open_store(
    project: ProjectConfig, block: StoreBlock, pool: Any, stack: AsyncExitStack
) -> BaseStore:
    """Raises `Refused` when what the project names cannot be had."""
    if block.path is not None:
        return await opened(block.path, "store.path", BaseStore, project=project, stack=stack)
    vectors = None
    if (index := block.index) is not None:
        embeddings = embeddings_of(index.embed, project)
        vectors = Vectors(embeddings, dims=index.dims, fields=index.fields)
        await vectors.prepare(pool)
    return PostgresStore(pool, ttl=block.ttl.config(), vectors=vectors)
