"""The blocks `store` and `checkpointer` of a `langgraph.json`, as every service reads them.

What they say concerns three services (executors keep, the run-scheduler sweeps, the gateway asks),
so it is read in one place. Unlike at the top level a key that is not known is refused: a misspelt
time to live would keep what should have gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bedplate.graphs.config import given_blocks, json_variable, parsed_block
from bedplate.kernel.errors import Refused
from bedplate_proto.threads import ThreadTtl as NewThreadTtl
from bedplate_proto.vocabulary import TtlStrategy

# A time to live is kept as a number of minutes; this is a thousand years.
MINUTES_MAX = 525_600_000
# Threads that one sweep takes at most, by strategy.
SWEEP_LIMITS = {TtlStrategy.DELETE: 10_000, TtlStrategy.KEEP_LATEST: 1_000}
# What a column of pgvector can hold.
DIMS_MAX = 16_000

Minutes = Annotated[float, Field(gt=0, le=MINUTES_MAX)]


class _Block(BaseModel):
    """A key that is null is one that is not there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        found = cast("dict[str, Any]", given)
        return {key: value for key, value in found.items() if value is not None}


class IndexBlock(_Block):
    """Which parts of an item are found by their meaning, and what turns them into numbers."""

    dims: Annotated[int, Field(ge=1, le=DIMS_MAX)]
    embed: Annotated[str, Field(min_length=1)]
    fields: Annotated[list[str], Field(min_length=1)] = ["$"]


class StoreTtl(_Block):
    default_ttl: Minutes | None = None
    refresh_on_read: bool = True
    omit_expired: bool = True
    sweep_interval_minutes: Minutes = 5

    def config(self) -> Any:
        """As langgraph's stores take it (TTLConfig)."""
        return self.model_dump(exclude_none=True)


class StoreBlock(_Block):
    index: IndexBlock | None = None
    ttl: StoreTtl = StoreTtl()
    path: str | None = None


class ThreadTtl(_Block):
    """Of a thread, counted from its last update; the sweep's interval and limit besides."""

    strategy: TtlStrategy = TtlStrategy.DELETE
    default_ttl: Minutes | None = None
    sweep_interval_minutes: Minutes = 5
    sweep_limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def limit(self, strategy: TtlStrategy) -> int:
        return self.sweep_limit or SWEEP_LIMITS[strategy]

    def of_new(self) -> NewThreadTtl:
        """That of a thread that asks for none."""
        return NewThreadTtl(minutes=self.default_ttl, strategy=self.strategy)


class CheckpointerBlock(_Block):
    backend: Literal["default", "custom"] = "default"
    path: str | None = None
    ttl: ThreadTtl = ThreadTtl()
    serde: dict[str, Any] = {}

    @model_validator(mode="after")
    def _custom_has_a_path(self) -> CheckpointerBlock:
        if self.backend == "custom" and self.path is None:
            raise ValueError("path: must be given with backend 'custom'")
        return self


class Persistence(BaseModel):
    """What a project asks for beyond the defaults."""

    model_config = ConfigDict(frozen=True)

    store: StoreBlock = StoreBlock()
    checkpointer: CheckpointerBlock = CheckpointerBlock()


def given_persistence(path: Path | None, environ: Mapping[str, str]) -> Persistence:
    """From the file, `LANGGRAPH_STORE`, `LANGGRAPH_CHECKPOINTER` and `LANGGRAPH_THREAD_TTL`.

    The last is a number of minutes or an object like `checkpointer.ttl`. Raises Refused.
    """
    blocks = given_blocks(path, environ)
    checkpointer: Any = blocks.checkpointer
    ttl = json_variable("LANGGRAPH_THREAD_TTL", blocks.env)
    if ttl is not None:
        if isinstance(ttl, int | float) and not isinstance(ttl, bool):
            ttl = {"default_ttl": ttl}
        elif not isinstance(ttl, dict):
            raise Refused("LANGGRAPH_THREAD_TTL: must be a number of minutes or an object")
        if isinstance(checkpointer, dict):
            checkpointer = {**cast("dict[str, Any]", checkpointer), "ttl": ttl}
    return Persistence(
        store=parsed_block("store", blocks.store, StoreBlock),
        checkpointer=parsed_block("checkpointer", checkpointer, CheckpointerBlock),
    )
