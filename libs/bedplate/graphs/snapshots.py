"""The stored values of DeltaChannels, thinned out.

LangGraph stores the whole value of a DeltaChannel every so many updates, so that reading it replays
no more than these. All of them together grow with the square of a thread's length: after 5000
messages they take thirty times what the messages take. An attempt that has stored one looks back,
and drops those that the values before them and the writes since tell as well.

Kept are the newest two, from which the newest states are read, and the first of every doubling of
the thread's length: all together they take no more than a few of the newest, and an old state is
not replayed from the very beginning.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint

from bedplate.kernel.errors import Unavailable
from bedplate.sql import Statements

from .checkpoint_rows import is_snapshot
from .patience import Patience

log = structlog.get_logger(__name__)

_sql = Statements("bedplate.graphs")


class Snapshots:
    """Those that one attempt has stored."""

    def __init__(self) -> None:
        self._stored: Counter[tuple[str, str, str]] = Counter()

    def saw(self, config: RunnableConfig, checkpoint: Checkpoint) -> None:
        """`checkpoint` was handed in."""
        for channel, value in checkpoint["channel_values"].items():
            if is_snapshot(value):
                configurable = config.get("configurable") or {}
                thread_id = str(configurable["thread_id"])
                self._stored[thread_id, configurable.get("checkpoint_ns", ""), channel] += 1

    async def thin(self, patience: Patience) -> None:
        """Drop what is not needed beside them. It does no harm to do it twice, or not at all."""
        stored, self._stored = self._stored, Counter()
        if not stored:
            return

        async def transaction(connection: Any) -> None:
            async with connection.transaction():
                for thread_id in sorted({thread_id for thread_id, _, _ in stored}):
                    await connection.execute(_sql["lock_compaction"], thread_id)
                for place, count in stored.items():
                    await _thin(connection, place, count)

        try:
            await patience.run(transaction)
        except Unavailable as error:
            log.warning("snapshots.kept", why=error.message)


async def _thin(connection: Any, place: tuple[str, str, str], count: int) -> None:
    found = await connection.fetch(_sql["find_old_snapshots"], *place, count)
    if idle := [record for record in found if not is_milestone(record) and is_replayable(record)]:
        checkpoints = [record["checkpoint_id"] for record in idle]
        versions = [record["version"] for record in idle]
        await connection.execute(_sql["drop_snapshots"], *place, checkpoints, versions)


def is_milestone(record: Any) -> bool:
    """Whether a stored value is the first of a doubling of the thread's length."""
    older = record["older_version"]
    return older is None or _doublings(older) != _doublings(record["version"])


def _doublings(version: str) -> int:
    """A channel's versions count the thread's super-steps, in whole numbers before the point."""
    return int(version.partition(".")[0]).bit_length()


def is_replayable(record: Any) -> bool:
    """Whether a stored value is its parent's and the writes on that, as at any checkpoint without
    one.

    LangGraph also stores values because that is not so: after an `Overwrite`, where a branch
    begins, where writes of tasks are left over that never went on. So the checkpoint has to be an
    ordinary step, made by the attempt that made its parent, and the writes have to be plain.
    """
    return bool(record["is_within_attempt"] and record["are_plain"])
