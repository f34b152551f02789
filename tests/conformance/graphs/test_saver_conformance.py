"""LangGraph's published suite for checkpointers, on ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES

ALL = {capability.value for capability in ALL_CAPABILITIES}


@pytest.mark.parametrize("is_fenced", [False, True], ids=["unfenced", "fenced"])
async def test_every_capability_of_the_published_suite_is_there(
    tables: Any, is_fenced: bool
) -> None:
    @checkpointer_test(name=f"PostgresSaver-{uuid4()}")
    async def ours() -> AsyncIterator[Any]:
        # The suite lists everything there is in some tests: each capability starts empty.
        await tables.pool.execute("TRUNCATE checkpoints, checkpoint_blobs, checkpoint_writes")
        yield tables.fenced(await tables.run() if is_fenced else None)

    report = await validate(ours)

    found = {name: result.failures for name, result in report.results.items() if result.failures}
    assert found == {}
    assert {name for name, result in report.results.items() if result.passed} == ALL
