"""What the server says about itself (contract endpoints.md 2), and rules for every endpoint (1)."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from bedplate.testing.eventually import eventually


@pytest.mark.parametrize("path", ["/ok", "/"])
async def test_ok_says_that_the_server_is_there(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "services": {"nats": "healthy", "postgres": "skipped"}}


async def test_ok_asks_the_database_when_told_to(http: httpx.AsyncClient) -> None:
    answer = await http.get("/ok", params={"check_db": 1})
    assert answer.json() == {"ok": True, "services": {"nats": "healthy", "postgres": "healthy"}}


async def test_info_has_what_interfaces_look_at_first(http: httpx.AsyncClient) -> None:
    info = (await http.get("/info")).json()
    assert info["version"] and info["langgraph_py_version"]
    assert info["flags"]["assistants"] is True and info["flags"]["crons"] is True
    assert info["host"]["kind"] == "self-hosted"


async def test_metrics_come_in_both_forms(http: httpx.AsyncClient) -> None:
    await http.get("/ok")
    text = await http.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain")
    assert 'bedplate_request_answered_seconds_count{method="GET",path="/ok"' in text.text
    counted = (await http.get("/metrics", params={"format": "json"})).json()
    assert counted["queue"]["n_pending"] >= 0
    slots = counted["workers"]
    assert slots["max"] == slots["active"] + slots["available"] > 0
    assert any(row["path"] == "/ok" for row in counted["api"]["http_requests_total"])


async def test_a_run_that_is_held_takes_a_slot(
    client: LangGraphClient, http: httpx.AsyncClient, journal: Any
) -> None:
    async def workers() -> dict[str, int]:
        return (await http.get("/metrics", params={"format": "json"})).json()["workers"]

    before = await workers()
    thread_id = (await client.threads.create())["thread_id"]
    given = {"seconds": 3600, "journal": journal.path}
    run = await client.runs.create(thread_id, "sleeps", input=given)
    await eventually(journal.firsts, equals=["sleeps"], within_s=10)
    during = await workers()
    assert during["max"] == before["max"]
    assert during["active"] == before["active"] + 1
    await client.runs.cancel(thread_id, run["run_id"], wait=True)


async def test_docs_are_for_people(http: httpx.AsyncClient) -> None:
    answer = await http.get("/docs")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    described = (await http.get("/openapi.json")).json()
    links, anchors = _links_and_anchors(answer.text)
    for operations in described["paths"].values():
        assert {operation["operationId"] for operation in operations.values()} <= anchors
    assert set(described["components"]["schemas"]) <= anchors
    assert {link[1:] for link in links if link.startswith("#")} <= anchors, "no dead link"


async def test_docs_need_no_other_host(http: httpx.AsyncClient) -> None:
    answer = await http.get("/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text and "://" not in answer.text
    links, _ = _links_and_anchors(answer.text)
    assert {link for link in links if not link.startswith("#")} == {"openapi.json"}


def _links_and_anchors(page: str) -> tuple[set[str], set[str]]:
    return set(re.findall(r'(?:href|src)="([^"]*)"', page)), set(re.findall(r' id="([^"]*)"', page))


async def test_a_request_id_is_taken_or_made(http: httpx.AsyncClient) -> None:
    assert (await http.get("/ok", headers={"x-request-id": "mine"})).headers[
        "x-request-id"
    ] == "mine"
    made = (await http.get("/ok")).headers["x-request-id"]
    assert len(made) == 36
    assert (await http.get("/ok", headers={"x-request-id": "a b"})).headers["x-request-id"] != "a b"


async def test_a_request_id_reaches_the_run(http: httpx.AsyncClient) -> None:
    request_id = str(uuid4())
    thread = (await http.post("/threads", json={})).json()
    await http.post(
        f"/threads/{thread['thread_id']}/runs/wait",
        json={"assistant_id": "noop", "input": {}},
        headers={"x-request-id": request_id},
    )
    state = (await http.get(f"/threads/{thread['thread_id']}/state")).json()
    assert state["metadata"]["langgraph_request_id"] == request_id


async def test_browsers_may_call_and_read_what_they_need(http: httpx.AsyncClient) -> None:
    asked = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    preflight = await http.options("/threads", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = await http.get("/ok", headers={"Origin": "http://localhost:3000"})
    exposed = answer.headers["access-control-expose-headers"]
    for name in ("Location", "Content-Location", "X-Pagination-Total", "X-Pagination-Next"):
        assert name in exposed


async def test_an_unknown_path_is_404_with_a_detail(http: httpx.AsyncClient) -> None:
    answer = await http.get("/nothing/here")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_a_wrong_method_is_405_and_names_the_right_ones(http: httpx.AsyncClient) -> None:
    answer = await http.put(f"/threads/{uuid4()}", json={})
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "PATCH"}
    assert answer.json() == {"detail": "Method Not Allowed"}


async def test_an_api_key_is_ignored_without_authentication(http: httpx.AsyncClient) -> None:
    assert (await http.get("/info", headers={"x-api-key": "anything"})).status_code == 200


async def test_the_document_describes_what_is_served(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    served = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert ("POST", "/threads/{thread_id}/runs/stream") in served
    assert ("GET", "/openapi.json") in served
    assert len(served) >= 48
    for method, path in sorted(served):
        concrete = path
        for name in ("thread_id", "run_id", "checkpoint_id", "assistant_id", "namespace"):
            concrete = concrete.replace("{" + name + "}", str(uuid4()))
        answer = await http.request(
            method, concrete, json=[] if method in ("POST", "PUT") else None
        )
        documented = document["paths"][path][method.lower()]["responses"]
        assert answer.status_code != 405, (method, path)
        assert str(answer.status_code) in documented, (method, path, answer.status_code)


async def test_every_reference_of_the_document_leads_somewhere(http: httpx.AsyncClient) -> None:
    text = (await http.get("/openapi.json")).text
    document = (await http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    referenced = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referenced <= set(schemas)
    ids = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(ids) == len(set(ids))
