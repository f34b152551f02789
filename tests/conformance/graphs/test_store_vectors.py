"""Search by meaning: the same promises with pgvector and without.

Without: a role that may not create extensions in its database, as on a server that has none.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp, SearchOp, ensure_embeddings
from langgraph.store.memory import InMemoryStore
from structlog.testing import capture_logs

from bedplate.graphs.item_tables import sweep_items
from bedplate.graphs.store import PostgresStore
from bedplate.graphs.vectors import EmbeddingFailed, Vectors
from bedplate.kernel.errors import Refused

WORDS = ("cat", "dog", "bread", "cheese", "violin", "python")
DIMS = len(WORDS)


def embed(texts: Sequence[str]) -> list[list[float]]:
    """How often each of the words is in a text."""
    return [[float(text.count(word)) for word in WORDS] for text in texts]


@pytest.fixture(params=["pgvector", "exact"])
async def pool(request: pytest.FixtureRequest, uri: str) -> AsyncIterator[Any]:
    given: dict[str, Any] = {}
    if request.param == "exact":
        connection = await asyncpg.connect(uri, timeout=10)
        await connection.execute(
            "DO $$ BEGIN CREATE ROLE plain LOGIN PASSWORD 'plain';"
            " EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        for table in ("store", "store_vectors", "runs"):
            await connection.execute(f"ALTER TABLE {table} OWNER TO plain")
        await connection.close()
        given = {"user": "plain", "password": "plain"}
    async with asyncpg.create_pool(uri, min_size=1, max_size=4, timeout=10, **given) as opened:
        yield opened


async def made(
    pool: Any, embeddings: Any = embed, *, dims: int = DIMS, fields: Sequence[str] = ("$",)
) -> PostgresStore:
    vectors = Vectors(ensure_embeddings(embeddings), dims=dims, fields=fields)
    await vectors.prepare(pool)
    return PostgresStore(pool, vectors=vectors)


@pytest.fixture
async def store(pool: Any) -> PostgresStore:
    return await made(pool)


async def keys(store: PostgresStore, *namespace: str, query: str, **options: Any) -> list[str]:
    return [item.key for item in await store.asearch(namespace, query=query, **options)]


async def test_the_nearest_come_first_with_their_similarity(store: PostgresStore) -> None:
    for key, text in {"pets": "cat dog", "cat": "cat", "food": "bread cheese"}.items():
        await store.aput(("a",), key, {"text": text})

    found = await store.asearch(("a",), query="my cat")

    assert [item.key for item in found] == ["cat", "pets", "food"]
    scores = [item.score for item in found]
    assert scores == pytest.approx([1.0, math.sqrt(0.5), 0.0], abs=1e-6)
    assert found[0].value == {"text": "cat"} and found[0].namespace == ("a",)
    assert [item.score for item in await store.asearch(("a",))] == [None] * 3


async def test_it_ranks_as_the_memory_store_does(store: PostgresStore) -> None:
    memory = InMemoryStore(index={"dims": DIMS, "embed": ensure_embeddings(embed)})
    for n in range(40):
        words = " ".join(word * (1 + n * (place + 3) % 7) for place, word in enumerate(WORDS))
        for each in (store, memory):
            await each.aput(("m", str(n % 4)), str(n), {"n": n, "text": words})

    for query in ("cat cat bread", "violin python python", "cheese"):
        for namespace in (("m",), ("m", "2")):
            op = SearchOp(namespace, query=query, limit=7, offset=2, filter={"n": {"$lt": 33}})
            answers: Any = await store.abatch([op]), await memory.abatch([op])
            (mine,), (theirs,) = answers
            assert [item.score for item in mine] == pytest.approx(
                [item.score for item in theirs], abs=1e-5
            )


async def test_a_part_of_an_item_is_what_is_found(pool: Any) -> None:
    store = await made(pool, fields=["title", "notes[*].text"])
    await store.aput(
        ("f",),
        "two",
        {"title": "dog", "notes": [{"text": "cat"}, {"text": "bread"}], "x": "violin"},
    )
    await store.aput(("f",), "own", {"title": "dog", "x": "violin"}, index=["x"])
    await store.aput(("f",), "none", {"title": "cat"}, index=False)
    await store.aput(("f",), "empty", {"other": "cat"})

    assert (await store.asearch(("f",), query="bread"))[0].key == "two"
    found = await store.asearch(("f",), query="violin")
    assert [(item.key, item.score) for item in found] == [("own", 1.0), ("two", 0.0)]
    assert {item.key for item in await store.asearch(("f",))} == {"two", "own", "none", "empty"}


async def test_an_item_is_found_by_what_it_is_now(store: PostgresStore, pool: Any) -> None:
    await store.aput(("o",), "k", {"text": "cat"})
    await store.aput(("o",), "k", {"text": "violin"})
    assert (await store.asearch(("o",), query="violin"))[0].score == pytest.approx(1.0)

    await store.aput(("o",), "k", {"text": "violin"}, index=False)
    assert await keys(store, "o", query="violin") == []

    await store.aput(("o",), "k", {"text": "violin"})
    # Somebody without the embedding function, as the gateway is, changes it.
    await PostgresStore(pool).aput(("o",), "k", {"text": "cat"})
    assert await keys(store, "o", query="violin") == []

    await store.aput(("o",), "k", {"text": "violin"})
    await store.adelete(("o",), "k")
    assert await keys(store, "o", query="violin") == []
    assert await pool.fetchval("SELECT count(*) FROM store_vectors") == 0


async def test_what_has_expired_is_not_found_and_takes_its_vectors_along(
    store: PostgresStore, pool: Any
) -> None:
    await store.aput(("t",), "short", {"text": "cat"}, ttl=5)
    await store.aput(("t",), "long", {"text": "cat"}, ttl=50)
    await store.asearch(("t",), query="cat", refresh_ttl=False)
    await pool.execute("UPDATE store SET expires_at = expires_at - interval '6 minutes'")
    assert await keys(store, "t", query="cat") == ["long"]
    left = await pool.fetchval("SELECT expires_at - now() FROM store WHERE key = 'long'")
    assert left.total_seconds() > 49 * 60
    assert await sweep_items(pool, limit=10) == 1
    assert await pool.fetchval("SELECT count(*) FROM store_vectors") == 1


async def test_a_place_and_a_filter_lose_no_rows(store: PostgresStore, pool: Any) -> None:
    """The nearest of all belong to others: an index that hands over its best and filters them
    afterwards would find nothing."""
    others = [
        PutOp(("others", str(n % 7)), str(n), {"text": "cat", "kind": "crowd"}) for n in range(4000)
    ]
    mine = [
        PutOp(("mine", "a"), str(n), {"text": "cat" + "dog" * (n + 1), "kind": "few"})
        for n in range(12)
    ]
    for start in range(0, len(others), 1000):
        await store.abatch(others[start : start + 1000])
    await store.abatch(mine)
    await pool.execute("ANALYZE store; ANALYZE store_vectors")

    nearest = [str(n) for n in range(10)]
    assert await keys(store, "mine", query="cat") == nearest
    assert await keys(store, query="cat", filter={"kind": "few"}) == nearest
    assert await keys(store, "mine", query="cat", limit=20, offset=10) == ["10", "11"]
    assert len(await keys(store, query="cat", limit=50)) == 50


async def test_many_items_are_found_by_the_index(uri: str) -> None:
    async with asyncpg.create_pool(uri, min_size=1, max_size=1, timeout=10) as pool:
        store = await made(pool)
        await store.abatch([PutOp(("x",), str(n), {"text": f"cat {n}"}) for n in range(3000)])
        await pool.execute("ANALYZE store; ANALYZE store_vectors")
        before = await _index_scans(pool)
        assert len(await keys(store, "x", query="cat")) == 10
        await pool.execute("SELECT pg_stat_force_next_flush()")
        assert await _index_scans(pool) > before


async def _index_scans(pool: Any) -> int:
    return await pool.fetchval(
        "SELECT idx_scan FROM pg_stat_user_indexes"
        " WHERE indexrelname = 'store_vectors_embedding_idx'"
    )


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda texts: [[1.0]] * len(texts), "dims is 6"),
        (lambda texts: [], "0 vectors of 1 texts"),
        (lambda texts: [[math.nan] * DIMS] * len(texts), "NaN"),
        (lambda texts: 1 / 0, "ZeroDivisionError"),
    ],
)
async def test_an_embedding_that_fails_stores_nothing(pool: Any, broken: Any, why: str) -> None:
    store = await made(pool, broken)
    with pytest.raises(EmbeddingFailed, match=why):
        await store.abatch([PutOp(("b",), "k", {"text": "cat"})])
    with pytest.raises(EmbeddingFailed, match=why):
        await store.asearch(("b",), query="cat")
    assert await store.asearch(("b",)) == []


async def test_async_functions_and_embeddings_objects_embed(pool: Any) -> None:
    async def slowly(texts: Sequence[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        return embed(texts)

    class Words(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return embed(texts)

        def embed_query(self, text: str) -> list[float]:
            return embed([text])[0]

    for embeddings in (slowly, Words()):
        store = await made(pool, embeddings)
        await store.aput(("e",), "cat", {"text": "cat"})
        await store.aput(("e",), "dog", {"text": "dog"})
        assert await keys(store, "e", query="dog") == ["dog", "cat"]


async def test_a_text_is_embedded_once_in_a_batch(pool: Any) -> None:
    seen: list[list[str]] = []

    def noting(texts: Sequence[str]) -> list[list[float]]:
        seen.append(list(texts))
        return embed(texts)

    store = await made(pool, noting, fields=["text"])
    await store.abatch([PutOp(("s",), str(n), {"text": f"cat {n % 2}"}) for n in range(6)])
    assert seen == [["cat 0", "cat 1"]]


async def test_a_vector_of_zeros_is_neither_near_nor_far(store: PostgresStore) -> None:
    await store.aput(("z",), "nothing", {"text": "?"})
    await store.aput(("z",), "cat", {"text": "cat"})
    found = await store.asearch(("z",), query="cat")
    assert [(item.key, item.score) for item in found] == [("cat", 1.0), ("nothing", 0.0)]


async def test_other_dimensions_need_an_empty_table(pool: Any) -> None:
    store = await made(pool)
    await store.aput(("d",), "k", {"text": "cat"})
    with pytest.raises(Refused, match="dims is 2, but the stored items have vectors of 6"):
        await made(pool, dims=2)
    await pool.execute("DELETE FROM store_vectors")
    other = await made(pool, lambda texts: [[1.0, 0.0]] * len(texts), dims=2)
    await other.aput(("d",), "k", {"text": "cat"})
    assert await keys(other, "d", query="cat") == ["k"]


async def test_thousands_of_dimensions(pool: Any) -> None:
    def wide(texts: Sequence[str]) -> list[list[float]]:
        return [[*vector, *([0.0] * (3072 - DIMS))] for vector in embed(texts)]

    store = await made(pool, wide, dims=3072)
    for word in ("cat", "dog"):
        await store.aput(("w",), word, {"text": word})
    assert await keys(store, "w", query="dog") == ["dog", "cat"]


async def test_pgvector_that_comes_later_takes_over_what_is_there(uri: str, tables: Any) -> None:
    """The vectors of a database that had to be searched exactly are found by an index later."""
    vectors = Vectors(ensure_embeddings(embed), dims=DIMS, fields=["$"])
    exact = PostgresStore(tables.pool, vectors=vectors)
    await exact.aput(("l",), "cat", {"text": "cat"})
    assert await keys(exact, "l", query="cat") == ["cat"]
    assert await _column(tables.pool) == "real[]"

    async with asyncpg.create_pool(uri, min_size=1, max_size=2, timeout=10) as pool:
        later = await made(pool)
        await made(pool)
        assert await _column(pool) == f"vector({DIMS})"
        assert await keys(later, "l", query="cat") == ["cat"]


async def _column(pool: Any) -> str:
    return await pool.fetchval(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'store_vectors'::regclass AND attname = 'embedding'"
    )


async def test_who_searches_exactly_is_told_once(pool: Any) -> None:
    with capture_logs() as logs:
        store = await made(pool)
        for _ in range(3):
            await keys(store, "w", query="cat")
    told = [entry for entry in logs if entry["event"] == "store.searched_exactly"]
    is_exact = await _column(pool) == "real[]"
    assert len(told) == int(is_exact)
    assert all("permission denied" in entry["why"] for entry in told)
