"""A project with `auth.path`: who comes in, what they reach, and as whom their runs work."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from langgraph_sdk.errors import NotFoundError

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually


@pytest.mark.parametrize("path", ["/ok", "/metrics", "/docs", "/openapi.json"])
async def test_probes_and_pages_need_no_token(guarded_http: Any, path: str) -> None:
    async with guarded_http("") as nobody:
        assert (await nobody.get(path)).status_code == 200


async def test_everything_else_needs_one_also_what_is_not_there(guarded_http: Any) -> None:
    async with guarded_http("") as nobody:
        for path in ("/", "/info", "/threads/search", "/nothing/here", f"/threads/{uuid4()}"):
            answer = await nobody.post(path) if "search" in path else await nobody.get(path)
            assert (answer.status_code, answer.json()) == (401, {"detail": "Who are you?"})
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["x-request-id"]
    async with guarded_http("alice") as alice:
        assert (await alice.get("/info")).status_code == 200
        assert (await alice.get("/nothing/here")).status_code == 404


async def test_any_other_refusal_is_403_and_a_failure_of_the_project_500(guarded_http: Any) -> None:
    async with guarded_http("mallory") as mallory:
        answer = await mallory.get("/info")
        assert (answer.status_code, answer.json()) == (403, {"detail": "mallory is not welcome"})
    async with guarded_http("broken") as broken:
        answer = await broken.get("/info")
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_the_studio_header_opens_nothing(guarded_http: Any) -> None:
    async with guarded_http("") as studio:
        answer = await studio.get("/info", headers={"x-auth-scheme": "langsmith"})
        assert answer.status_code == 401


async def test_who_was_let_in_is_remembered(guarded_http: Any, tmp_path: Any) -> None:
    journal = tmp_path / "journal"
    async with guarded_http("al") as al:
        for _ in range(3):
            await al.get("/info", headers={"x-journal": str(journal)})
    assert not journal.exists() or journal.read_text() == "al\n"


async def test_an_assertion_of_a_handler_is_its_refusal(guarded_http: Any) -> None:
    async with guarded_http("guest") as guest:
        answer = await guest.request("DELETE", f"/threads/{uuid4()}")
        assert (answer.status_code, answer.json()) == (403, {"detail": "guests may only look"})
        assert (await guest.post("/threads/search", json={})).json() == []


async def test_a_run_knows_whom_it_works_for(guarded_client: Any, guarded_http: Any) -> None:
    alice = guarded_client("alice")
    thread = await alice.threads.create()
    told = await alice.runs.wait(thread["thread_id"], "whoami", input={})
    assert told["value"] == {
        "langgraph_auth_user_id": "alice",
        "langgraph_auth_permissions": ["threads:write"],
        "user_id": "alice",
        "made_for": "alice",
        "identity": "alice",
        "team": "blue",
        "token": "s3cret-alice",
        "headers": {},
    }
    assert (await alice.runs.wait(None, "whoami", input={}))["value"]["made_for"] == "alice"


async def test_the_code_of_a_run_reaches_what_its_user_may_reach(guarded_client: Any) -> None:
    al = guarded_client("al")
    told = (await al.runs.wait(None, "looks", input={}))["value"]
    assert told["owner"] == "al"
    assert set(told["found"]) <= {"al", "alice"}, "her own, and what is shared with her"
    assert (told["inner"]["made_for"], told["inner"]["token"]) == ("al", "s3cret-al")


async def test_a_made_up_credential_is_none(guarded_http: Any) -> None:
    async with guarded_http("") as nobody:
        for text in ("x", f"{uuid4()}.1.{'0' * 64}", f"{uuid4()}.x.", "..", "\u00e9"):
            headers = {"x-bedplate-run": text.encode("latin-1")}
            assert (await nobody.get("/info", headers=headers)).status_code == 401


@pytest.mark.parametrize("where", ["configurable", "context"])
async def test_nobody_works_as_somebody_else(guarded_client: Any, where: str) -> None:
    alice = guarded_client("alice")
    forged = {
        "langgraph_auth_user": {"identity": "bob", "team": "red", "token": "x"},
        "langgraph_auth_user_id": "bob",
        "langgraph_auth_permissions": ["all"],
        "user_id": "bob",
    }
    given: Any = {"config": {"configurable": forged}} if where != "context" else {"context": forged}
    told = (await alice.runs.wait(None, "whoami", input={}, **given))["value"]
    assert (told["user_id"], told["identity"], told["token"]) == ("alice", "alice", "s3cret-alice")
    assert told["langgraph_auth_permissions"] == ["threads:write"]
    metadata = {"owner": "bob", "user_id": "bob"}
    assistant = await alice.assistants.create("whoami", metadata=metadata, **given)
    assert assistant["metadata"]["owner"] == "alice"
    told = (await alice.runs.wait(None, assistant["assistant_id"], input={}))["value"]
    assert (told["user_id"], told["made_for"]) == ("alice", "alice")


async def test_a_runs_row_says_whose_it_is_and_keeps_what_is_secret(guarded_http: Any) -> None:
    async with guarded_http("alice") as alice:
        thread = (await alice.post("/threads", json={})).json()
        place = f"/threads/{thread['thread_id']}"
        body = {"assistant_id": "whoami", "input": {}}
        run = (await alice.post(f"{place}/runs", json=body)).json()
        await alice.get(f"{place}/runs/{run['run_id']}/join")
        answer = await alice.get(f"{place}/runs/{run['run_id']}")
        configurable = answer.json()["kwargs"]["config"]["configurable"]
        assert configurable["langgraph_auth_user_id"] == configurable["user_id"] == "alice"
        assert configurable["langgraph_auth_permissions"] == ["threads:write"]
        assert "s3cret" not in answer.text
        assert answer.json()["metadata"]["owner"] == "alice"
        shown = (await alice.get(place)).json()
        assert (
            not {"user_id", "langgraph_auth_user_id"}
            & shown["config"].get("configurable", {}).keys()
        )
        state = (await alice.get(f"{place}/state")).json()
        assert "s3cret" not in str(state["metadata"])


async def test_what_a_handler_writes_is_what_is_stored(guarded_client: Any) -> None:
    alice = guarded_client("alice")
    thread = await alice.threads.create(metadata={"owner": "bob", "topic": "x"})
    assert thread["metadata"] == {"owner": "alice", "topic": "x"}
    found = await alice.threads.search(metadata={"topic": "x"}, ids=[thread["thread_id"]])
    assert [each["thread_id"] for each in found] == [thread["thread_id"]]


async def test_a_stateless_run_is_its_makers_alone(guarded_http: Any) -> None:
    body = {"assistant_id": "waits", "input": {}, "on_completion": "keep"}
    async with guarded_http("alice") as alice, guarded_http("bob") as bob:
        run = (await alice.post("/runs", json=body)).json()
        place = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
        assert (await alice.get(place)).status_code == 200
        assert (await bob.get(place)).status_code == 404
        missing = await bob.get(f"/runs/{uuid4()}/stream")
        answer = await bob.get(f"/runs/{run['run_id']}/stream")
        assert (answer.status_code, answer.json()) == (404, missing.json())
        assert (await alice.post(f"{place}/cancel", params={"wait": 1})).status_code == 200


async def test_cancelling_all_cancels_ones_own(guarded_http: Any) -> None:
    body = {"assistant_id": "waits", "input": {}, "on_completion": "keep"}
    async with guarded_http("alice") as alice, guarded_http("bob") as bob:
        hers = (await alice.post("/runs", json=body)).json()
        his = (await bob.post("/runs", json=body)).json()
        assert (await alice.post("/runs/cancel", json={"status": "all"})).status_code == 204

        async def status(of: httpx.AsyncClient, run: Any) -> str:
            place = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
            return (await of.get(place)).json()["status"]

        await eventually(lambda: status(alice, hers), equals="interrupted", within_s=20)
        assert await status(bob, his) in ("pending", "running")
        nothing = await alice.post("/runs/cancel", json={"status": "all"})
        assert nothing.status_code == 404
        assert (await bob.post("/runs/cancel", json={"status": "all"})).status_code == 204


async def test_what_is_shared_can_be_read_and_not_changed(guarded_client: Any) -> None:
    alice, bob = guarded_client("alice"), guarded_client("bob")
    thread = await alice.threads.create(metadata={"readers": ["bob", "al"]})
    thread_id = thread["thread_id"]
    assert (await bob.threads.get(thread_id))["metadata"]["owner"] == "alice"
    assert thread_id in [each["thread_id"] for each in await bob.threads.search(limit=100)]
    with pytest.raises(NotFoundError):
        await bob.threads.update(thread_id, metadata={"owner": "bob"})
    with pytest.raises(NotFoundError):
        await bob.threads.delete(thread_id)
    with pytest.raises(NotFoundError):
        await bob.runs.create(thread_id, "whoami", input={})
    copy = await bob.threads.copy(thread_id)
    assert copy["metadata"] == {"owner": "bob", "readers": ["bob", "al"]}
    assert (await alice.threads.get(thread_id))["metadata"]["owner"] == "alice"


async def test_items_are_ones_own(guarded_client: Any) -> None:
    alice, al, bob = guarded_client("alice"), guarded_client("al"), guarded_client("bob")
    await alice.store.put_item(["notes"], "k", {"text": "hers"})
    await bob.store.put_item(["notes"], "k", {"text": "his"})
    assert (await alice.store.get_item(["notes"], "k"))["value"] == {"text": "hers"}
    # The name of one is the beginning of the other's.
    assert (await al.store.search_items([]))["items"] == []
    assert await bob.store.get_item(["alice", "notes"], "k") is None
    for prefix in ([], ["notes"], ["alice"], ["alice", "notes"]):
        found = (await bob.store.search_items(prefix))["items"]
        assert all(item["namespace"][0] == "bob" for item in found)
    for asked in ({}, {"prefix": ["*"]}, {"prefix": ["alice"]}, {"suffix": ["notes"]}):
        found = (await bob.store.list_namespaces(**asked))["namespaces"]
        assert all(namespace[0] == "bob" for namespace in found)
    await bob.store.delete_item(["alice", "notes"], "k")
    assert (await alice.store.get_item(["notes"], "k"))["value"] == {"text": "hers"}


async def test_the_document_says_how_to_come_in(guarded_http: Any) -> None:
    async with guarded_http("") as nobody:
        document = (await nobody.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}]
    assert document["paths"]["/info"]["get"]["security"] == []
    assert document["paths"]["/info"]["get"]["operationId"] == "get_info"


async def test_who_runs_first_is_asked_about_the_user(guarded: Stack, guarded_client: Any) -> None:
    groups: set[str] = set()
    connection = await asyncpg.connect(guarded.endpoints.database_uri, timeout=10)
    try:
        for name in ("alice", "bob"):
            run = await guarded_client(name).runs.create(None, "whoami", input={})
            groups.add(
                await connection.fetchval(
                    "SELECT fairness_group FROM runs WHERE run_id = $1", run["run_id"]
                )
            )
    finally:
        await connection.close()
    assert groups == {"blue-alice", "blue-bob"}
