"""What graphs keep things in: our checkpointer and store, set up as the project asks, or its
own."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any

from bedplate.backbone import Backbone
from bedplate.chassis.loop import Loop
from bedplate.graphs.chores import Chores
from bedplate.graphs.committer import Committer
from bedplate.graphs.config import ProjectConfig, given_blocks
from bedplate.graphs.embedding import embeddings_of
from bedplate.graphs.encryption import (
    OwnEncryption,
    aes_cipher,
    aes_serde,
    own_encryption,
    sealing_of,
)
from bedplate.graphs.library import BaseCheckpointSaver, BaseStore
from bedplate.graphs.own_parts import opened
from bedplate.graphs.own_saver import OwnSaver
from bedplate.graphs.persistence import CheckpointerBlock, Persistence, StoreBlock
from bedplate.graphs.saver import PostgresSaver
from bedplate.graphs.sealing import AES_KEY, Sealing
from bedplate.graphs.serde import serde_from_config
from bedplate.graphs.store import PostgresStore
from bedplate.graphs.vectors import Vectors
from bedplate.kernel.errors import Refused

Saver = PostgresSaver | OwnSaver


@dataclass(frozen=True)
class Kept:
    """Where graphs keep things, and who encrypts what the rows show of it."""

    saver: Saver
    store: BaseStore
    sealing: Sealing | None


# A deleted thread is gone for every reader at once; what it kept may wait.
_CHORES_S = 2.0


async def open_kept(
    project: ProjectConfig, given: Persistence, backbone: Backbone, stack: AsyncExitStack
) -> Kept:
    """Raises `Refused` when what the project names cannot be had."""
    own = own_encryption(given_blocks(project.path, os.environ).encryption, project)
    sealing = sealing_of(own, os.environ)
    saver = await open_saver(project, given.checkpointer, backbone, stack, own=own, sealing=sealing)
    store = await open_store(project, given.store, backbone.pool, stack, sealing=sealing)
    return Kept(saver, store, sealing)


async def open_saver(
    project: ProjectConfig,
    block: CheckpointerBlock,
    backbone: Backbone,
    stack: AsyncExitStack,
    *,
    own: OwnEncryption | None,
    sealing: Sealing | None,
) -> Saver:
    """Raises as `open_store` does."""
    strict = serde_from_config({"serde": block.serde})
    cipher = aes_cipher(os.environ)
    seals = None if own is None else own.seals(cipher)
    if block.path is not None:
        given = [
            *(["'encryption.path' with handlers for blobs"] if seals is not None else []),
            *([AES_KEY] if cipher is not None else []),
        ]
        if given:
            both = f"{given[0]} and 'checkpointer.path' are given"
            raise Refused(f"{both}: only one of them can keep checkpoints")
        kept = await opened(
            block.path,
            "checkpointer.path",
            BaseCheckpointSaver,
            project=project,
            stack=stack,
        )
        return OwnSaver(kept, backbone.pool)
    serde = strict if seals is not None else aes_serde(strict, os.environ)
    committer = await stack.enter_async_context(aclosing(Committer(backbone.pool)))
    return PostgresSaver(backbone.pool, committer, serde=serde, seals=seals, sealing=sealing)


async def open_store(
    project: ProjectConfig,
    block: StoreBlock,
    pool: Any,
    stack: AsyncExitStack,
    *,
    sealing: Sealing | None,
) -> BaseStore:
    """Raises `Refused` when what the project names cannot be had."""
    if block.path is not None:
        return await opened(block.path, "store.path", BaseStore, project=project, stack=stack)
    vectors = None
    if (index := block.index) is not None:
        embeddings = embeddings_of(index.embed, project)
        vectors = Vectors(embeddings, dims=index.dims, fields=index.fields)
        await vectors.prepare(pool)
    return PostgresStore(pool, ttl=block.ttl.config(), vectors=vectors, sealing=sealing)


def chores_of(saver: Saver, pool: Any) -> Loop | None:
    """What is left for workers to do to the checkpoints of a checkpointer that only they reach."""
    if isinstance(saver, OwnSaver):
        return Loop("chores", Chores(saver, pool).do, period_s=_CHORES_S)
    return None
