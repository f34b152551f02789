"""Parts that a project brings itself: how they may be named, and what is said when they are not
there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore

from bedplate.graphs.config import ProjectConfig, load_config
from bedplate.graphs.embedding import embeddings_of
from bedplate.graphs.loading import put_first
from bedplate.graphs.own_parts import opened
from bedplate.kernel.errors import Refused

PARTS = """
from contextlib import asynccontextmanager, contextmanager
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.store.memory import InMemoryStore

closed = []
ready = InMemoryStore()
number = 7
vectors = DeterministicFakeEmbedding(size=3)

def made():
    return InMemoryStore()

async def made_slowly():
    return InMemoryStore()

@asynccontextmanager
async def opened_slowly():
    yield InMemoryStore()
    closed.append("slowly")

@contextmanager
def opened():
    yield InMemoryStore()
    closed.append("at once")

def broken():
    raise RuntimeError("no database is configured")

def embed(texts):
    return [[1.0] for _ in texts]

async def embed_slowly(texts):
    return [[2.0] for _ in texts]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProjectConfig]:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "./own_parts_of_test.py:a"}}')
    (tmp_path / "own_parts_of_test.py").write_text(PARTS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    config = load_config(tmp_path)
    put_first(config.import_paths)
    yield config
    sys.modules.pop("own_parts_of_test", None)


async def found(name: str, project: ProjectConfig, stack: AsyncExitStack) -> BaseStore:
    text = f"./own_parts_of_test.py:{name}"
    return await opened(text, "store.path", BaseStore, project=project, stack=stack)


async def test_a_part_may_be_named_in_any_way(project: ProjectConfig) -> None:
    async with AsyncExitStack() as stack:
        for name in ("ready", "made", "made_slowly", "opened_slowly", "opened"):
            assert isinstance(await found(name, project, stack), BaseStore)
        closed = sys.modules["own_parts_of_test"].closed
        assert closed == []
    assert closed == ["at once", "slowly"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing", "no attribute 'missing'"),
        ("number", "leads to int; it must be a BaseStore"),
        ("broken", "RuntimeError: no database is configured"),
    ],
)
async def test_what_is_no_part_is_refused_by_name(
    project: ProjectConfig, name: str, told: str
) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(Refused, match=told) as refused:
            await found(name, project, stack)
    assert ("own_parts_of_test.py" in getattr(refused.value, "trace", "")) == (name == "broken")


async def test_an_embedding_is_a_function_an_object_or_a_providers_model(
    project: ProjectConfig,
) -> None:
    async def of(name: str) -> Any:
        return await embeddings_of(name, project).aembed_documents(["x"])

    assert await of("./own_parts_of_test.py:embed") == [[1.0]]
    assert await of("own_parts_of_test:embed_slowly") == [[2.0]]
    own = embeddings_of("own_parts_of_test:vectors", project)
    assert own is sys.modules["own_parts_of_test"].vectors
    # A provider whose package is not there: the message names what was asked for.
    for text in ("nobody:model-1", "nobody:model", "own_parts_of_test:nothing", "nothing"):
        with pytest.raises(Refused, match=r"store\.index\.embed"):
            embeddings_of(text, project)
    with pytest.raises(Refused, match="'nothing'"):
        embeddings_of("./own_parts_of_test.py:nothing", project)
    with pytest.raises(Refused, match="which is int"):
        embeddings_of("own_parts_of_test:number", project)
