"""Bad input gets its documented answer, names the field or the limit, and harms nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

BODY_BYTES_MAX = 20 * 1024 * 1024


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


@pytest.fixture(autouse=True)
async def _works_on(client: LangGraphClient) -> AsyncIterator[None]:
    """After each of them the server runs the next run as if nothing had been."""
    yield
    assert await client.runs.wait(None, "noop", input={"value": 1}) == {"value": 1}


@pytest.mark.parametrize(
    "body", [b"{", b"nonsense", b'{"a":}', b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000, b'"\\ud800"']
)
@pytest.mark.parametrize("path", ["/threads", "/threads/search", "/runs/wait", "/assistants"])
async def test_what_is_no_json_is_422(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await http.post(path, content=body)
    assert answer.status_code == 422
    assert "not valid JSON" in answer.json()["detail"]


@pytest.mark.parametrize("body", ["[]", "1", "null", '"text"'])
async def test_what_is_no_object_is_422(http: httpx.AsyncClient, body: str) -> None:
    answer = await http.post("/threads", content=body)
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "The body must be a JSON object.",
    )


RUNS: list[tuple[str, Any]] = [
    ("assistant_id", None),
    ("assistant_id", 7),
    ("assistant_id", ""),
    ("command", "resume"),
    ("command", {"goto": 7}),
    ("command", {"goto": [{"input": 1}]}),
    ("command", {"update": 7}),
    ("command", {"update": [["only-a-key"]]}),
    ("metadata", "text"),
    ("config", []),
    ("config", {"recursion_limit": 0}),
    ("config", {"recursion_limit": -5}),
    ("config", {"recursion_limit": "25"}),
    ("config", {"recursion_limit": 1.5}),
    ("config", {"tags": "one"}),
    ("config", {"configurable": []}),
    ("config", {"configurable": {"checkpoint_id": "seven"}}),
    ("context", "text"),
    ("webhook", 7),
    ("webhook", ""),
    ("webhook", "/hook"),
    ("webhook", "ftp://example.com/hook"),
    ("webhook", "http://127.0.0.1/hook"),
    ("webhook", "http://169.254.169.254/latest"),
    ("interrupt_before", 7),
    ("interrupt_after", [7]),
    ("stream_mode", "songs"),
    ("stream_mode", "lifecycle"),
    ("stream_mode", ["values", "input"]),
    ("stream_mode", 7),
    ("stream_subgraphs", "yes"),
    ("stream_resumable", 1),
    ("multitask_strategy", "ignore"),
    ("if_not_exists", "maybe"),
    ("after_seconds", -1),
    ("after_seconds", "soon"),
    ("after_seconds", 1e300),
    ("durability", "forever"),
    ("checkpoint_during", "no"),
    ("checkpoint", "seven"),
    ("checkpoint", {"checkpoint_id": "seven"}),
    ("checkpoint_id", "seven"),
    ("on_completion", "explode"),
    ("on_disconnect", "explode"),
    ("feedback_keys", "one"),
]


@pytest.mark.parametrize(("field", "value"), RUNS)
async def test_a_wrong_field_of_a_run_is_422_and_named(
    http: httpx.AsyncClient, thread: str, field: str, value: Any
) -> None:
    body = {"assistant_id": "noop", "input": {}, field: value}
    for path in (f"/threads/{thread}/runs", "/runs/stream"):
        answer = await http.post(path, json=body)
        assert answer.status_code == 422, answer.text
        assert field in answer.json()["detail"]
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


OTHERS: list[tuple[str, str, str, Any]] = [
    ("POST", "/threads", "thread_id", "seven"),
    ("POST", "/threads", "metadata", []),
    ("POST", "/threads", "if_exists", "maybe"),
    ("POST", "/threads", "ttl", 0),
    ("POST", "/threads", "ttl", True),
    ("POST", "/threads", "ttl", {"ttl": 5, "strategy": "forget"}),
    ("PATCH", "/threads/{thread}", "ttl", "5"),
    ("POST", "/threads", "supersteps", {}),
    ("POST", "/threads", "supersteps", [{"updates": [{"values": {}}]}]),
    ("POST", "/threads/search", "limit", 0),
    ("POST", "/threads/search", "limit", 1001),
    ("POST", "/threads/search", "limit", "10"),
    ("POST", "/threads/search", "offset", -1),
    ("POST", "/threads/search", "offset", 2**70),
    ("POST", "/threads/search", "status", "asleep"),
    ("POST", "/threads/search", "sort_by", "thread_id; DROP TABLE threads"),
    ("POST", "/threads/search", "sort_order", "up"),
    ("POST", "/threads/search", "select", ["secrets"]),
    ("POST", "/threads/search", "ids", ["seven"]),
    ("POST", "/threads/search", "metadata", "text"),
    ("POST", "/threads/count", "values", []),
    ("POST", "/threads/prune", "thread_ids", "all"),
    ("POST", "/threads/prune", "strategy", "explode"),
    ("PATCH", "/threads/{thread}", "metadata", 7),
    ("POST", "/threads/{thread}/state", "values", "text"),
    ("POST", "/threads/{thread}/state", "as_node", 7),
    ("POST", "/threads/{thread}/state", "checkpoint_id", "seven"),
    ("POST", "/threads/{thread}/state/checkpoint", "checkpoint", None),
    ("POST", "/threads/{thread}/history", "limit", 0),
    ("POST", "/threads/{thread}/history", "before", 7),
    ("POST", "/threads/{thread}/history", "before", {"nothing": 1}),
    ("POST", "/threads/{thread}/history", "before", "seven"),
    ("POST", "/assistants", "graph_id", 7),
    ("POST", "/assistants", "assistant_id", "seven"),
    ("POST", "/assistants", "config", {"recursion_limit": 0}),
    ("POST", "/assistants/search", "sort_by", "secrets"),
    ("PUT", "/store/items", "value", []),
    ("PUT", "/store/items", "namespace", "a.b"),
    ("PUT", "/store/items", "ttl", -1),
    ("PUT", "/store/items", "index", True),
    ("POST", "/store/items/search", "filter", []),
    ("POST", "/store/namespaces", "max_depth", 0),
]


@pytest.mark.parametrize(("method", "path", "field", "value"), OTHERS)
async def test_a_wrong_field_is_422_and_named(
    http: httpx.AsyncClient, thread: str, method: str, path: str, field: str, value: Any
) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/assistants": {"graph_id": "noop"},
        "/store/items": {"namespace": ["a"], "key": "k", "value": {}},
        "/threads/prune": {"thread_ids": []},
    }
    body = {**bodies.get(path, {}), field: value}
    answer = await http.request(method, path.format(thread=thread), json=body)
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "/threads/seven", "Invalid thread ID: must be a UUID"),
        ("DELETE", "/threads/0", "Invalid thread ID: must be a UUID"),
        ("POST", "/threads/seven/runs", "Invalid thread ID: must be a UUID"),
        ("GET", "/threads/{thread}/runs/seven", "Invalid run ID: must be a UUID"),
        ("GET", "/threads/{thread}/runs/seven/stream", "Invalid run ID: must be a UUID"),
        ("POST", "/threads/{thread}/runs/seven/cancel", "Invalid run ID: must be a UUID"),
        ("GET", "/threads/{thread}/state/seven", "Invalid checkpoint ID: must be a UUID"),
        ("GET", "/assistants/no-such", "Invalid assistant ID: must be a UUID"),
        ("GET", "/assistants/no%00such/graph", "Invalid assistant ID: must be a UUID"),
        ("GET", "/threads/%00", "Invalid thread ID: must be a UUID"),
    ],
)
async def test_a_bad_id_in_the_path_is_422(
    http: httpx.AsyncClient, thread: str, method: str, path: str, detail: str
) -> None:
    answer = await http.request(method, path.format(thread=thread))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/threads/{thread}/runs", "limit=many", 400),
        ("/threads/{thread}/runs", "offset=x", 400),
        ("/threads/{thread}/runs", "limit=0", 422),
        ("/threads/{thread}/runs", "limit=5000", 422),
        ("/threads/{thread}/runs", "status=asleep", 422),
        ("/threads/{thread}/runs", "select=secrets", 422),
        ("/threads/{thread}/history", "limit=x", 422),
        ("/threads/{thread}/history", "limit=99999", 422),
        ("/threads/{thread}/history", "before=seven", 422),
        ("/threads/{thread}/state", "subgraphs=perhaps", 422),
        ("/threads/{thread}", "include=secrets", 422),
        ("/metrics", "format=pictures", 422),
        ("/ok", "check_db=perhaps", 422),
    ],
)
async def test_a_bad_query_is_refused(
    http: httpx.AsyncClient, thread: str, path: str, query: str, status: int
) -> None:
    answer = await http.get(f"{path.format(thread=thread)}?{query}")
    assert answer.status_code == status, answer.text
    assert query.split("=")[0] in answer.json()["detail"]


async def test_nul_characters_are_refused_in_keys_and_replaced_in_texts(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("/threads", json={"metadata": {"a\x00b": 1}})
    assert answer.status_code == 422 and "NUL" in answer.json()["detail"]
    made = await http.post("/threads", json={"metadata": {"a": ["x\x00y"]}})
    assert made.json()["metadata"] == {"a": ["x�y"]}
    body = {"assistant_id": "noop", "input": {"value": "x\x00y"}}
    assert (await http.post("/runs/wait", json=body)).json() == {"value": "x�y"}
    put = {"namespace": ["n\x00"], "key": "k", "value": {"v": "\x00"}}
    assert (await http.put("/store/items", json=put)).status_code == 204
    search = await http.post("/threads/search", json={"metadata": {"a": "\x00"}})
    assert search.status_code == 200
    literal = await http.post("/threads", content=b'{"metadata":{"a":"\\\\u0000"}}')
    assert literal.json()["metadata"] == {"a": "\\u0000"}


async def test_a_body_over_the_limit_is_413_and_names_it(http: httpx.AsyncClient) -> None:
    body = b'{"input":"' + b"x" * BODY_BYTES_MAX + b'"}'
    answer = await http.post("/runs/wait", content=body)
    assert answer.status_code == 413
    assert str(BODY_BYTES_MAX) in answer.json()["detail"]


async def test_a_body_without_a_length_is_measured_as_it_comes(http: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"input":"'
        for _ in range(21):
            yield b"x" * (1024 * 1024)

    answer = await http.post("/runs/wait", content=chunks())
    assert answer.status_code == 413


async def test_a_large_body_within_the_limit_runs(http: httpx.AsyncClient) -> None:
    """More than a message of the bus may have, on its way in and out."""
    value = "x" * 3_000_000
    body = {"assistant_id": "noop", "input": {"value": value}}
    assert (await http.post("/runs/wait", json=body)).json() == {"value": value}


async def test_unknown_fields_are_ignored(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "noop", "input": {"value": 1}, "from_the_future": {"x": 1}}
    assert (await http.post("/runs/wait", json=body)).json() == {"value": 1}


@pytest.mark.parametrize(
    ("graph", "given", "error"),
    [
        ("raises", {"kind": "ValueError", "message": "boom"}, "ValueError"),
        ("raises", {"kind": "unprintable"}, "Unprintable"),
        ("raises", {"kind": "nul", "message": "a"}, "ValueError"),
        ("raises", {"kind": "base"}, "Severe"),
        ("raises", {"kind": "long"}, "ValueError"),
        ("unserialisable", {}, None),
        ("steps", {"steps": 50}, "GraphRecursionError"),
    ],
)
async def test_a_graph_that_fails_ends_its_run_in_error(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, graph: str,
    given: dict[str, Any], error: str | None,
) -> None:  # fmt: skip
    answer = await http.post(
        f"/threads/{thread}/runs/wait",
        json={"assistant_id": graph, "input": given, "config": {"recursion_limit": 10}},
    )
    told = answer.json()["__error__"]
    assert error is None or told["error"] == error
    assert (await client.runs.list(thread))[0]["status"] == "error"
    assert (await client.threads.get(thread))["status"] == "error"


async def test_a_head_that_is_no_http_is_refused(http: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    writer.write(b"nonsense\r\n\r\n")
    await writer.drain()
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()
    await writer.wait_closed()


async def test_an_unknown_thing_is_404(http: httpx.AsyncClient, thread: str) -> None:
    unknown = uuid4()
    for method, path in (
        ("GET", f"/threads/{unknown}"),
        ("GET", f"/threads/{thread}/runs/{unknown}"),
        ("DELETE", f"/threads/{thread}/runs/{unknown}"),
        ("POST", f"/threads/{thread}/runs/{unknown}/cancel"),
        ("GET", f"/threads/{thread}/runs/{unknown}/join"),
        ("GET", f"/threads/{unknown}/state"),
        ("POST", f"/threads/{unknown}/history"),
        ("GET", f"/assistants/{unknown}"),
        ("GET", f"/assistants/{unknown}/graph"),
        ("DELETE", f"/assistants/{unknown}"),
    ):
        answer = await http.request(method, path)
        assert answer.status_code == 404, (method, path, answer.text)
        assert json.loads(answer.text)["detail"]
