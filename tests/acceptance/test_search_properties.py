"""Filters, order and pages of every search, against a model of what they promise: containment as
PostgreSQL's `@>` has it, a total order, and pages that neither overlap nor leave anything out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from bedplate.devstack.stack import Stack

Row = dict[str, Any]
QUICK = settings(
    max_examples=40,
    deadline=None,
    # The rows are made once and only read.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SOME_TEXT = some.sampled_from(["", "a", "A", "ä", "a'b", '"', "%", "_", "\\", "{}", "$1"])
SCALARS = some.none() | some.booleans() | some.integers(-2, 2) | some.just(1.5) | SOME_TEXT
VALUES = some.recursive(
    SCALARS,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(SOME_TEXT, inner, max_size=3),
    max_leaves=6,
)
METADATA = some.dictionaries(some.sampled_from(["k", "l", "a'b", "k.l", ""]), VALUES, max_size=3)


def contains(whole: Any, part: Any) -> bool:
    """`whole @> part` of jsonb, below the top level."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(contains(item, wanted) for item in whole) for wanted in part
        )
    if isinstance(whole, bool) or isinstance(part, bool):
        return whole is part  # True is 1 to Python, but not to JSON.
    return not isinstance(whole, dict | list) and whole == part


def parts_of(value: Any) -> some.SearchStrategy[Any]:
    """Something that `value` contains, more often than chance would have it."""
    if isinstance(value, dict):
        keys = some.lists(some.sampled_from(sorted(value)), unique=True) if value else some.just([])
        return keys.flatmap(
            lambda kept: some.fixed_dictionaries({k: parts_of(value[k]) for k in kept})
        )
    if isinstance(value, list) and value:
        return some.lists(some.sampled_from(value).flatmap(parts_of), max_size=2)
    return some.just(value)


@dataclass
class Searched:
    """One kind of rows: where it is searched, and the rows that this test made of it."""

    http: httpx.Client
    path: str
    key: str
    rows: list[Row]
    mark: str

    def found(self, asked: Row) -> tuple[list[str], httpx.Response]:
        body = {**asked, "metadata": {**asked.get("metadata", {}), "mark": self.mark}}
        answer = self.http.post(f"{self.path}/search", json=body)
        assert answer.status_code == 200, answer.text
        return [row[self.key] for row in answer.json()], answer

    def counted(self, asked: Row) -> int:
        body = {**asked, "metadata": {**asked.get("metadata", {}), "mark": self.mark}}
        return self.http.post(f"{self.path}/count", json=body).json()

    def expected(self, fits: Callable[[Row], bool], *, by: str, descending: bool) -> list[str]:
        """Rows without a value last; ties by id."""
        rows = sorted((row for row in self.rows if fits(row)), key=lambda row: row[self.key])
        valued = [row for row in rows if row[by] is not None]
        valued.sort(key=lambda row: row[by], reverse=descending)
        return [row[self.key] for row in valued] + [
            row[self.key] for row in rows if row[by] is None
        ]


@pytest.fixture(scope="module")
def site(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        yield http


METADATAS: list[Row] = [
    {}, {"k": 1}, {"k": True}, {"k": None}, {"k": "a"}, {"k": [1, 2, {"l": 1}]}, {"k": []},
    {"k": {"l": {"a": 1, "b": [1]}}}, {"k": {}, "l": "%"}, {"": "ä"}, {"a'b": '"'}, {"k.l": 1.5},
]  # fmt: skip


def _made(http: httpx.Client, path: str, key: str, bodies: list[Row]) -> Searched:
    mark = str(uuid4())
    rows: list[Row] = []
    for body in bodies:
        body = {**body, "metadata": {**body["metadata"], "mark": mark}}
        answer = http.post(body.pop("path", path), json=body)
        assert answer.status_code == 200, answer.text
        rows.append(answer.json())
    return Searched(http, path, key, rows, mark)


@pytest.fixture(scope="module")
def threads(site: httpx.Client) -> Searched:
    return _made(site, "/threads", "thread_id", [{"metadata": each} for each in METADATAS])


@pytest.fixture(scope="module")
def assistants(site: httpx.Client) -> Searched:
    names = ["Alpha", "alpha", "BETA", "be_ta", "be%ta", "Ärger"]
    bodies = [
        {"metadata": each, "graph_id": ("noop", "tokens")[n % 2], "name": names[n % len(names)]}
        for n, each in enumerate(METADATAS)
    ]
    return _made(site, "/assistants", "assistant_id", bodies)


@pytest.fixture(scope="module")
def crons(site: httpx.Client) -> Iterator[Searched]:
    thread_id = site.post("/threads", json={}).json()["thread_id"]
    bodies: list[Row] = []
    for n, each in enumerate(METADATAS):
        body: Row = {"metadata": each, "assistant_id": ("noop", "tokens")[n % 2]}
        body |= {"schedule": f"{n % 3} {n % 4} 1 1 *", "enabled": n % 5 != 0}
        if n % 3 == 0:
            body["path"] = f"/threads/{thread_id}/runs/crons"
        if n % 4 == 0:
            body["end_time"] = f"20{50 + n % 2}-01-01T00:00:00Z"
        bodies.append(body)
    made = _made(site, "/runs/crons", "cron_id", bodies)
    yield made
    site.delete(f"/threads/{thread_id}")
    for row in made.rows:
        site.delete(f"/runs/crons/{row['cron_id']}")


FILTERS = some.sampled_from(METADATAS).flatmap(parts_of) | METADATA
KINDS = {
    "threads": ["thread_id", "status", "created_at", "updated_at", "state_updated_at"],
    "assistants": ["assistant_id", "created_at", "updated_at", "name", "graph_id"],
    "crons": [
        "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at",
        "updated_at",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=some.data(), metadata=FILTERS)
@QUICK
def test_a_search_finds_what_contains_the_filter_in_the_order_asked_for(
    request: pytest.FixtureRequest, kind: str, data: some.DataObject, metadata: Row
) -> None:
    searched: Searched = request.getfixturevalue(kind)
    by = data.draw(some.sampled_from([name for name in KINDS[kind] if name != "name"]))
    order = data.draw(some.sampled_from(["asc", "desc"]))
    asked: Row = {"metadata": metadata, "sort_by": by, "sort_order": order, "limit": 1000}
    found, answer = searched.found(asked)
    expected = searched.expected(
        lambda row: contains(row["metadata"], metadata), by=by, descending=order == "desc"
    )
    assert found == expected
    assert searched.counted({"metadata": metadata}) == len(expected)
    assert answer.headers["X-Pagination-Total"] == str(len(expected))


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=some.data(), limit=some.integers(1, 15), start=some.integers(0, 20))
@QUICK
def test_pages_are_the_whole_in_order_and_tell_where_they_go_on(
    request: pytest.FixtureRequest, kind: str, data: some.DataObject, limit: int, start: int
) -> None:
    searched: Searched = request.getfixturevalue(kind)
    asked: Row = {
        "sort_by": data.draw(some.sampled_from(KINDS[kind])),
        "sort_order": data.draw(some.sampled_from(["asc", "desc"])),
    }
    whole, _ = searched.found({**asked, "limit": 1000})
    offset: int | None = start
    paged: list[str] = []
    while offset is not None:
        rows, answer = searched.found({**asked, "limit": limit, "offset": offset})
        paged += rows
        following = answer.headers.get("X-Pagination-Next")
        if following is None:
            assert answer.headers["X-Pagination-Total"] == str(offset + len(rows))
        else:
            assert len(rows) == limit
            assert int(following) == offset + limit
            assert int(answer.headers["X-Pagination-Total"]) == offset + limit + 1
        offset = None if following is None else int(following)
    assert paged == whole[start:]


@given(name=SOME_TEXT | some.sampled_from(["ALPHA", "eta", "be_", "e%t", "är"]))
@QUICK
def test_an_assistants_name_is_found_by_any_part_in_any_case(
    assistants: Searched, name: str
) -> None:
    found, _ = assistants.found({"name": name, "limit": 1000})
    fitting = {
        row["assistant_id"] for row in assistants.rows if name.lower() in row["name"].lower()
    }
    assert set(found) == fitting
    assert assistants.counted({"name": name}) == len(fitting)


@given(data=some.data())
@QUICK
def test_a_crons_columns_filter_together(crons: Searched, data: some.DataObject) -> None:
    like = data.draw(some.sampled_from(crons.rows))
    names = data.draw(some.sets(some.sampled_from(["assistant_id", "thread_id", "enabled"])))
    wanted = {name: like[name] for name in names if like[name] is not None}
    found, _ = crons.found({**wanted, "limit": 1000})
    assert set(found) == {
        row["cron_id"] for row in crons.rows if all(row[name] == wanted[name] for name in wanted)
    }


@given(data=some.data())
@QUICK
def test_only_the_selected_fields_are_shown(threads: Searched, data: some.DataObject) -> None:
    fields = data.draw(
        some.lists(some.sampled_from(sorted(threads.rows[0])), min_size=1, unique=True)
    )
    body = {"metadata": {"mark": threads.mark}, "select": fields, "limit": 2}
    rows = threads.http.post("/threads/search", json=body).json()
    assert [set(row) for row in rows] == [set(fields)] * 2


@pytest.fixture(scope="module")
def listed(site: httpx.Client) -> tuple[str, list[Row]]:
    """A thread with runs that ended in more than one way."""
    thread_id = site.post("/threads", json={}).json()["thread_id"]
    for n in range(8):
        graph = "raises" if n % 3 == 0 else "noop"
        site.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": graph, "input": {}})
    rows = site.get(f"/threads/{thread_id}/runs", params={"limit": 1000}).json()
    assert {row["status"] for row in rows} == {"success", "error"}
    return thread_id, rows


@given(
    status=some.sampled_from([None, "success", "error", "pending"]),
    limit=some.integers(1, 10),
    offset=some.integers(0, 10),
    fields=some.sets(some.sampled_from(["run_id", "status", "kwargs"])),
)
@QUICK
def test_a_threads_runs_are_listed_newest_first(
    site: httpx.Client, listed: tuple[str, list[Row]], status: str | None, limit: int,
    offset: int, fields: set[str],
) -> None:  # fmt: skip
    thread_id, rows = listed
    assert rows == sorted(rows, key=lambda row: row["created_at"], reverse=True)
    query: Row = {"limit": limit, "offset": offset, "select": sorted(fields)}
    if status is not None:
        query["status"] = status
    found = site.get(f"/threads/{thread_id}/runs", params=query).json()
    fitting = [row for row in rows if status in (None, row["status"])][offset : offset + limit]
    shown = fields or set(rows[0])
    assert found == [{name: row[name] for name in shown} for row in fitting]
