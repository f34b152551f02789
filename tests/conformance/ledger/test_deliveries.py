"""Deliveries: written with the end of a run, however it ends; claimed and settled by many."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.kernel.errors import Conflict, NotFound
from bedplate.kernel.run import Ending
from bedplate.ledger.deliveries import Deliveries, Due, Verdict
from bedplate_proto.vocabulary import CancelAction

TENANT = "default"
KWARGS = '{"webhook":"https://x.test/a","input":{"big":123456789012345678901234567890}}'


@pytest.fixture
async def deliveries(books: Any) -> Deliveries:
    await books.pool.execute("TRUNCATE deliveries")
    return Deliveries(books.pool)


async def _told(books: Any) -> list[dict[str, Any]]:
    rows = await books.pool.fetch("SELECT * FROM deliveries ORDER BY created_at")
    return [dict(row) for row in rows]


async def _running(books: Any, kwargs: str = KWARGS, **changed: Any) -> Any:
    order = await books.create(kwargs=kwargs, **changed)
    return order, books.about(order, await books.claim(order))


async def _claim(deliveries: Deliveries, **changed: Any) -> list[Due]:
    known: dict[str, Any] = {"limit": 100, "room": 100, "rooms": {}, "by": "d", "lease_s": 60}
    return await deliveries.claim(**(known | changed))


@pytest.mark.parametrize("ending", Ending)
async def test_however_an_attempt_ends_its_run_a_delivery_is_due(
    books: Any, deliveries: Deliveries, outcome: Any, ending: Ending
) -> None:
    order, about = await _running(books)
    error = '{"error": "ValueError", "message": "no"}' if ending == "error" else None
    assert await _told(books) == []
    await books.ledger.finish(about, outcome(ending, error=error))
    await books.ledger.finish(about, outcome(ending, error=error))
    (row,) = await _told(books)
    is_gone = ending is Ending.ROLLED_BACK
    told = json.loads(row["run"])
    assert told["status"] == ("rollback" if is_gone else ending)
    assert told["run_id"] == str(order.run_id) == str(row["run_id"])
    assert told["kwargs"]["input"]["big"] == 123456789012345678901234567890
    assert row["values"] is None if is_gone else json.loads(row["values"]) == {"n": 1}
    assert row["error"] == ("no" if ending == "error" else None)
    assert row["destination"] == "https://x.test"
    assert row["run_started_at"] is not None and row["run_ended_at"] is not None
    if not is_gone:
        run = await books.run(order.run_id)
        assert row["run_ended_at"] == run["finished_at"]


@pytest.mark.parametrize("action", CancelAction)
async def test_a_run_that_never_started_is_told_too(
    books: Any, deliveries: Deliveries, action: CancelAction
) -> None:
    order = await books.create(kwargs=KWARGS)
    await books.admissions.cancel(order.run_id, order.thread_id, tenant=TENANT, action=action)
    (row,) = await _told(books)
    assert json.loads(row["run"])["status"] == (
        "rollback" if action is CancelAction.ROLLBACK else "interrupted"
    )
    assert row["run_started_at"] is None


async def test_a_run_whose_attempts_died_is_told_once(books: Any, deliveries: Deliveries) -> None:
    order, about = await _running(books)
    for _ in range(2):
        await books.ledger.lose({order.run_id: about.attempt}, failures_max=1, expired_only=False)
    (row,) = await _told(books)
    assert json.loads(row["run"])["status"] == "error" and "max attempts" in row["error"]


async def test_a_run_that_waits_for_another_attempt_is_not_over(
    books: Any, deliveries: Deliveries
) -> None:
    order, about = await _running(books)
    await books.ledger.lose({order.run_id: about.attempt}, failures_max=3, expired_only=False)
    attempt = await books.claim(order)
    await books.ledger.release({order.run_id: attempt})
    assert await _told(books) == []


async def test_runs_that_go_with_their_thread_are_told_if_they_were_not_over(
    books: Any, deliveries: Deliveries, outcome: Any
) -> None:
    order, about = await _running(books)
    await books.ledger.finish(about, outcome())
    await books.create(order.thread_id, kwargs=KWARGS)
    await books.pool.execute("TRUNCATE deliveries")
    await books.threads.delete([order.thread_id], tenant=TENANT)
    (row,) = await _told(books)
    assert json.loads(row["run"])["status"] == "interrupted" and row["values"] is None


async def test_a_stateless_run_is_told_without_values_and_outlived(
    books: Any, deliveries: Deliveries, outcome: Any
) -> None:
    order, about = await _running(books, is_temporary=True, deletes_thread=True)
    await books.ledger.finish(about, outcome())
    await books.threads.delete([order.thread_id], tenant=TENANT)
    (row,) = await _told(books)
    assert json.loads(row["run"])["status"] == "success" and row["values"] is None


@pytest.mark.parametrize(
    ("kwargs", "url"),
    [
        ("{}", None),
        ('{"webhook": null}', None),
        ('{"webhook":""}', None),
        ('{"input": {"webhook":"https://not.me/"}}', None),
        ('{"input": "\\u0000 \\\\u0000", "webhook": "https://x.test/"}', "https://x.test/"),
        ('{"input": "\\"webhook\\":\\"no\\"", "webhook":"/path"}', "/path"),
    ],
)
async def test_only_a_webhook_at_the_top_is_one(
    books: Any, deliveries: Deliveries, outcome: Any, kwargs: str, url: str | None
) -> None:
    order, about = await _running(books, kwargs)
    await books.ledger.finish(about, outcome())
    assert [row["url"] for row in await _told(books)] == ([url] if url else [])
    assert (await books.run(order.run_id))["kwargs"] == kwargs


async def _put(books: Any, *urls: str) -> list[UUID]:
    return [
        await books.pool.fetchval(
            "INSERT INTO deliveries"
            " (tenant, run_id, thread_id, url, destination, run, run_ended_at)"
            " VALUES ($1, $2, $2, $3, $3, '{}', now()) RETURNING delivery_id",
            TENANT,
            uuid4(),
            url,
        )
        for url in urls
    ]


async def test_many_dispatchers_claim_each_delivery_once(
    books: Any, deliveries: Deliveries
) -> None:
    ids = await _put(books, *("https://a", "https://b", "https://c") * 30)
    claimed = await asyncio.gather(*(_claim(deliveries, limit=7, by=f"d{n}") for n in range(20)))
    counts = Counter(due.delivery_id for each in claimed for due in each)
    assert set(counts.values()) == {1}
    while rest := await _claim(deliveries):
        counts.update(due.delivery_id for due in rest)
    assert counts == Counter(ids)


async def test_a_destination_gets_no_more_than_its_places(
    books: Any, deliveries: Deliveries
) -> None:
    await _put(books, *["https://slow"] * 50, "https://new", "https://full", "https://free")
    claimed = await _claim(deliveries, room=3, rooms={"https://full": 0, "https://slow": 1})
    assert Counter(due.destination for due in claimed) == {
        "https://slow": 1,
        "https://new": 1,
        "https://free": 1,
    }
    assert len(await _claim(deliveries, limit=2, room=30)) == 2


async def test_a_claim_that_ran_out_is_due_again_and_its_verdict_counts_for_nothing(
    books: Any, deliveries: Deliveries
) -> None:
    await _put(books, "https://a")
    (first,) = await _claim(deliveries, lease_s=0)
    (second,) = await _claim(deliveries)
    assert await _claim(deliveries) == []
    assert (first.tries, second.tries) == (1, 2)
    assert not await deliveries.settle(first, Verdict("delivered", status_code=200))
    assert await deliveries.settle(second, Verdict("dead", status_code=404, error="HTTP 404"))
    assert not await deliveries.settle(second, Verdict("delivered", status_code=200))
    assert await _claim(deliveries) == []
    assert (await deliveries.measure()).dead == 1


async def test_a_deferred_delivery_is_due_after_its_delay(
    books: Any, deliveries: Deliveries
) -> None:
    await _put(books, "https://a")
    (due,) = await _claim(deliveries)
    assert await deliveries.settle(due, Verdict("pending", retry_s=3600, error="HTTP 503"))
    assert await _claim(deliveries) == []
    backlog = await deliveries.measure()
    assert (backlog.pending, backlog.due) == (1, 0)
    await books.pool.execute("UPDATE deliveries SET next_try_at = now()")
    (again,) = await _claim(deliveries)
    assert again.tries_of_round == 2


async def test_a_redelivery_begins_a_new_round_but_not_while_a_try_is_under_way(
    books: Any, deliveries: Deliveries
) -> None:
    (delivery_id,) = await _put(books, "https://a")
    (due,) = await _claim(deliveries)
    with pytest.raises(Conflict):
        await deliveries.redeliver(delivery_id, tenant=TENANT)
    await deliveries.settle(due, Verdict("dead", error="no"))
    with pytest.raises(NotFound):
        await deliveries.redeliver(delivery_id, tenant="another")
    row = json.loads(await deliveries.redeliver(delivery_id, tenant=TENANT))
    assert (row["status"], row["tries"]) == ("pending", 1)
    (again,) = await _claim(deliveries)
    assert (again.tries, again.tries_of_round) == (2, 1)
    assert again.age_s < 60


async def test_what_is_over_is_swept_after_its_time_and_nothing_else(
    books: Any, deliveries: Deliveries
) -> None:
    await _put(books, "https://a", "https://b", "https://c")
    arrived, dead, _ = await _claim(deliveries)
    await deliveries.settle(arrived, Verdict("delivered", status_code=200))
    await deliveries.settle(dead, Verdict("dead", error="no"))
    assert await deliveries.sweep(delivered_s=60, dead_s=60, limit=10) == 0
    assert await deliveries.sweep(delivered_s=0, dead_s=60, limit=10) == 1
    assert await deliveries.sweep(delivered_s=60, dead_s=0, limit=10) == 1
    assert (await deliveries.measure()).pending == 1
