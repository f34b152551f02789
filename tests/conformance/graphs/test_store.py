"""The store: what graphs and clients rely on, and the types of its comparisons."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from bedplate.graphs.item_tables import sweep_items
from bedplate.graphs.store import PostgresStore
from bedplate.kernel.errors import Refused


@pytest.fixture
async def store(tables: Any) -> PostgresStore:
    return PostgresStore(tables.pool)


async def test_a_batch_answers_in_order_and_reads_before_it_writes(store: Any) -> None:
    await store.aput(("a",), "old", {"n": 1})
    answers = await store.abatch(
        [
            PutOp(("a",), "new", {"n": 2}),
            GetOp(("a",), "new"),
            GetOp(("a",), "old"),
            SearchOp(("a",)),
            PutOp(("a",), "old", None),
            ListNamespacesOp(),
            GetOp(("a",), "old"),
            PutOp(("a",), "new", {"n": 3}),
        ]
    )

    assert answers[0] is None
    assert answers[1] is None
    assert [answers[2].value, answers[6].value] == [{"n": 1}, {"n": 1}]
    assert [item.key for item in answers[3]] == ["old"]
    assert answers[5] == [("a",)]
    assert (await store.aget(("a",), "new")).value == {"n": 3}
    assert await store.aget(("a",), "old") is None
    assert await store.abatch([]) == []


async def test_an_overwritten_item_keeps_its_birthday(store: Any) -> None:
    await store.aput(("a",), "k", {"n": 1})
    first = await store.aget(("a",), "k")
    await store.aput(("a",), "k", {"n": 2})
    second = await store.aget(("a",), "k")

    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert second.value == {"n": 2}


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"n": 10}, {"ten"}),
        ({"n": {"$eq": 9}}, {"nine"}),
        ({"n": {"$ne": 9}}, {"ten", "text", "null", "float"}),
        ({"n": {"$gt": 9}}, {"ten", "float"}),
        ({"n": {"$gte": 9}}, {"nine", "ten", "float"}),
        ({"n": {"$lt": 10}}, {"nine", "float"}),
        ({"n": {"$lte": 10, "$gt": 9}}, {"ten", "float"}),
        ({"n": {"$gt": "0"}}, {"text"}),
        ({"n": None}, {"null"}),
        ({"missing": {"$ne": 1}}, set()),
        ({"missing": {"$lt": 1}}, set()),
        ({"missing": None}, set()),
        ({"deep": {"x": {"$gt": 1}}}, {"nine"}),
        ({"deep": {"x": 2, "y": "z"}}, {"nine"}),
        ({"deep": {"x": 2, "y": "?"}}, set()),
        ({"tags": ["a", "b"]}, {"ten"}),
        ({"tags": ["a"]}, set()),
    ],
)
async def test_filters_compare_by_type_and_never_match_what_is_missing(
    store: Any, condition: dict[str, Any], found: set[str]
) -> None:
    for key, value in {
        "nine": {"n": 9, "deep": {"x": 2, "y": "z"}},
        "ten": {"n": 10, "tags": ["a", "b"]},
        "float": {"n": 9.5},
        "text": {"n": "9"},
        "null": {"n": None},
        "none": {},
    }.items():
        await store.aput(("f",), key, value)

    items = await store.asearch(("f",), filter=condition)

    assert {item.key for item in items} == found


async def test_a_page_is_the_newest_first_and_ends(store: Any) -> None:
    for n in range(7):
        await store.aput(("p",), str(n), {"n": n})
    pages = [
        [item.value["n"] for item in await store.asearch(("p",), limit=3, offset=offset)]
        for offset in (0, 3, 6, 9)
    ]
    assert pages == [[6, 5, 4], [3, 2, 1], [0], []]


async def test_a_prefix_ends_at_a_label(store: Any) -> None:
    for namespace in (("u_1",), ("u_1", "a"), ("uX1", "a"), ("u_12",), ("u_1%",)):
        await store.aput(namespace, "k", {"at": list(namespace)})

    found = await store.asearch(("u_1",))

    assert sorted(item.namespace for item in found) == [("u_1",), ("u_1", "a")]
    assert len(await store.asearch(())) == 5


@pytest.mark.parametrize(
    "op",
    [
        ListNamespacesOp(),
        ListNamespacesOp(max_depth=1),
        ListNamespacesOp(max_depth=2, limit=2, offset=1),
        ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("users",)),)),
        ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("users", "*", "a-b")),)),
        ListNamespacesOp(match_conditions=(MatchCondition("suffix", ("memories",)),)),
        ListNamespacesOp(match_conditions=(MatchCondition("suffix", ("*", "memories")),)),
        ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("user",)),)),
        ListNamespacesOp(match_conditions=(MatchCondition("prefix", ()),)),
        ListNamespacesOp(
            match_conditions=(
                MatchCondition("prefix", ("users",)),
                MatchCondition("suffix", ("memories",)),
            ),
            max_depth=2,
        ),
    ],
)
async def test_namespaces_are_listed_as_the_memory_store_lists_them(store: Any, op: Any) -> None:
    memory = InMemoryStore()
    for namespace in (
        ("users", "1", "memories"),
        ("users", "2", "a-b"),
        ("users", "2", "a-b", "c (d)"),
        ("memories",),
        ("usersX", "1"),
        ("ü", "[x]", "memories"),
    ):
        for each in (store, memory):
            await each.aput(namespace, "k", {"n": 1})

    assert await store.abatch([op]) == await memory.abatch([op])


async def test_an_expired_item_is_gone_before_and_after_it_is_swept(
    store: Any, tables: Any
) -> None:
    await store.aput(("t",), "short", {"n": 1}, ttl=0.5)
    await store.aput(("t",), "long", {"n": 2}, ttl=10)
    await store.aput(("t",), "ever", {"n": 3})
    before = await store.aget(("t",), "short")
    await _pass_minutes(tables, 5)

    assert await store.aget(("t",), "short") is None
    assert {item.key for item in await store.asearch(("t",))} == {"long", "ever"}
    assert await sweep_items(tables.pool, limit=10) == 1
    assert await sweep_items(tables.pool, limit=10) == 0

    await store.aput(("t",), "short", {"n": 4}, ttl=1)
    await _pass_minutes(tables, 5)
    await store.aput(("t",), "short", {"n": 5})
    assert (await store.aget(("t",), "short")).created_at > before.created_at


async def test_reading_prolongs_a_life_unless_asked_not_to(store: Any, tables: Any) -> None:
    keys = ("got", "searched", "looked at", "half")
    for key in keys:
        await store.aput(("t", key), key, {"n": 1}, ttl=0.5 if key == "half" else 10)

    await _pass_minutes(tables, 6, key="got")
    await store.aget(("t", "got"), "got")
    await _pass_minutes(tables, 6, key="searched")
    await store.asearch(("t", "searched"))
    await _pass_minutes(tables, 6, key="looked at")
    await store.aget(("t", "looked at"), "looked at", refresh_ttl=False)
    await store.asearch(("t", "looked at"), refresh_ttl=False)
    # Half a minute is kept as one: prolonged never means shortened.
    await store.aget(("t", "half"), "half")

    left = {
        row["key"]: row["left"]
        for row in await tables.pool.fetch("SELECT key, expires_at - now() AS left FROM store")
    }
    assert left["got"] > timedelta(minutes=9)
    assert left["searched"] > timedelta(minutes=9)
    assert left["looked at"] < timedelta(minutes=5)
    assert left["half"] > timedelta(seconds=50)


async def test_a_default_time_to_live_and_its_refresh_come_from_the_configuration(
    tables: Any,
) -> None:
    store = PostgresStore(tables.pool, ttl={"default_ttl": 10, "refresh_on_read": False})
    await store.aput(("t",), "k", {"n": 1})
    await store.aput(("t",), "ever", {"n": 1}, ttl=None)
    await _pass_minutes(tables, 6)
    assert await store.aget(("t",), "k") is not None
    await _pass_minutes(tables, 6)
    assert await store.aget(("t",), "k") is None
    assert await store.aget(("t",), "ever") is not None


async def test_a_sweep_takes_no_more_than_it_may(store: Any, tables: Any) -> None:
    for n in range(5):
        await store.aput(("t",), str(n), {"n": n}, ttl=1)
    await _pass_minutes(tables, 2)
    assert [await sweep_items(tables.pool, limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_what_cannot_be_stored_is_refused_by_name(store: Any) -> None:
    for work, named in (
        (store.aput(("a",), "k", {"n": object()}), "'k'"),
        (store.aput(("a",), "k", {"n": float("nan")}), "'k'"),
        (store.aput(("a",), "k", ["not", "an", "object"]), "'k'"),
        (store.aput(("a",), "k", {}, ttl=0), "ttl"),
        (store.aput(("a",), "k", {}, ttl=2.0**40), "ttl"),
        (store.aput(("a",), "k\0", {}), "key"),
        (store.asearch(("a",), filter={"n": {"$near": 1}}), r"\$near"),
    ):
        with pytest.raises(Refused, match=named):
            await work
    for namespace in ((), ("a.b",), ("",), ("langgraph", "x"), ("a\0",)):
        with pytest.raises(InvalidNamespaceError):
            await store.aput(namespace, "k", {})
    with pytest.raises(Refused):
        await store.abatch([PutOp(("a",), "good", {"n": 1}), PutOp(("a",), "bad", {"n": {1}})])
    assert await store.asearch(()) == []


async def test_text_that_jsonb_cannot_hold_is_mended(store: Any) -> None:
    await store.aput(("a",), "k", {"x\0": "a\0b\ud800c", "ok": "\\u0000 é 🙂"})
    assert (await store.aget(("a",), "k")).value == {
        "x\ufffd": "a\ufffdb\ufffdc",
        "ok": "\\u0000 é 🙂",
    }


async def test_the_synchronous_store_works_in_a_thread_and_says_what_to_write_on_the_loop(
    store: Any,
) -> None:
    def in_thread() -> Any:
        store.put(("s",), "k", {"n": 1})
        return store.get(("s",), "k").value, [i.key for i in store.search(("s",))]

    assert await asyncio.to_thread(in_thread) == ({"n": 1}, ["k"])
    with pytest.raises(asyncio.InvalidStateError, match="await store"):
        store.get(("s",), "k")

    def in_another_loop() -> Any:
        return asyncio.run(store.aget(("s",), "k"))

    assert (await asyncio.to_thread(in_another_loop)).value == {"n": 1}


async def _pass_minutes(tables: Any, minutes: int, *, key: str | None = None) -> None:
    """Time goes by for what is stored."""
    await tables.pool.execute(
        "UPDATE store SET expires_at = expires_at - $1::int * interval '1 minute'"
        " WHERE $2::text IS NULL OR key = $2",
        minutes,
        key,
    )
