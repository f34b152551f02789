"""Two people who try to reach each other's things by every route: what is foreign is answered
exactly as what is not there."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bedplate.testing.eventually import eventually

RUN = {"assistant_id": "whoami", "input": {}}
COMMANDS: dict[str, Any] = {
    "run.start": {"assistant_id": "whoami", "input": {"value": 1}},
    "input.respond": {"interrupt_id": "x", "response": 1},
    "agent.getTree": {},
}
# A good body for each path that takes one, so that nothing but the door can refuse it.
BODIES: dict[str, Any] = {
    "PATCH /threads/{thread_id}": {"metadata": {"owner": "bob"}},
    "POST /threads/{thread_id}/state": {"values": {"value": 1}, "as_node": "tell"},
    "POST /threads/{thread_id}/state/checkpoint": {"checkpoint": {}},
    "POST /threads/{thread_id}/history": {"limit": 10},
    "POST /threads/{thread_id}/runs": RUN,
    "POST /threads/{thread_id}/runs/stream": RUN,
    "POST /threads/{thread_id}/runs/wait": RUN,
    "POST /threads/{thread_id}/runs/crons": {**RUN, "schedule": "0 0 * * *"},
    "POST /threads/{thread_id}/commands": {
        "id": 1,
        "method": "run.start",
        "params": COMMANDS["run.start"],
    },
    "POST /threads/{thread_id}/stream/events": {"channels": ["values"]},
    "PATCH /assistants/{assistant_id}": {"metadata": {"owner": "bob"}},
    "POST /assistants/{assistant_id}/latest": {"version": 1},
    "POST /assistants/{assistant_id}/versions": {},
    "PATCH /runs/crons/{cron_id}": {"schedule": "0 0 * * *"},
}
# Where nothing is named, so nothing of others can be; each has a test of its own.
ABOUT_NOBODY = {
    *("/", "/ok", "/info", "/metrics", "/docs", "/openapi.json", "/runs", "/runs/batch"),
    *("/runs/cancel", "/runs/stream", "/runs/wait", "/assistants", "/assistants/count"),
    *("/assistants/search", "/threads", "/threads/count", "/threads/prune", "/threads/search"),
    *("/store/items", "/store/items/search", "/store/namespaces", "/webhooks/deliveries"),
    *("/runs/crons", "/runs/crons/search", "/runs/crons/count"),
}
# A stream may be opened before the thread is made: what is not there is waited for.
OPENED_BEFORE = {
    "POST /threads/{thread_id}/stream/events",
    "POST /threads/{thread_id}/commands",
}


@dataclass(frozen=True)
class Hers:
    """Alice's things, one of each kind, by the names that paths have for them."""

    ids: dict[str, str]

    def at(self, path: str, ids: dict[str, str]) -> str:
        return path.format(**{"namespace": "x", **ids})

    @property
    def missing(self) -> dict[str, str]:
        return {name: str(uuid4()) for name in self.ids}


@pytest.fixture(scope="module")
def hook() -> Any:
    """A receiver of webhooks that says yes to everything."""

    class Yes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    told: list[bytes] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Yes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


@pytest.fixture(scope="module")
def hers(guarded: Any, hook: Any) -> Hers:
    url, _ = hook
    return asyncio.run(_made(guarded.url, hook=url))


async def _made(url: str, *, hook: str) -> Hers:
    headers = {"authorization": "Bearer alice"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as alice:
        thread = (await alice.post("/threads", json={})).json()
        place = f"/threads/{thread['thread_id']}"
        run = (await alice.post(f"{place}/runs", json={**RUN, "webhook": hook})).json()
        await alice.get(f"{place}/runs/{run['run_id']}/join")
        state = (await alice.get(f"{place}/state")).json()
        assistant = (await alice.post("/assistants", json={"graph_id": "whoami"})).json()
        # New Year's Eve: it is not to fire here.
        cron = {**RUN, "schedule": "0 0 31 12 *", "metadata": {"owner": "bob", "topic": "x"}}
        crons = [
            (await alice.post(path, json=cron)).json()
            for path in ("/runs/crons", f"{place}/runs/crons")
        ]

        async def delivered() -> Any:
            query = {"run_id": run["run_id"], "status": "delivered"}
            return (await alice.get("/webhooks/deliveries", params=query)).json()

        [delivery] = await eventually(delivered, within_s=30)
    return Hers(
        {
            "thread_id": thread["thread_id"],
            "run_id": run["run_id"],
            "checkpoint_id": state["checkpoint"]["checkpoint_id"],
            "assistant_id": assistant["assistant_id"],
            "delivery_id": delivery["delivery_id"],
            "cron_id": crons[0]["cron_id"],
        }
    )


async def _served(http: httpx.AsyncClient) -> list[tuple[str, str]]:
    document = (await http.get("/openapi.json")).json()
    return sorted(
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    )


async def test_foreign_things_are_not_there_by_any_route(guarded_http: Any, hers: Hers) -> None:
    async with guarded_http("bob") as bob, guarded_http("alice") as alice:
        served = await _served(bob)
        assert len(served) >= 50
        for method, path in served:
            if path in ABOUT_NOBODY:
                continue
            body = BODIES.get(f"{method} {path}")
            assert "{" in path, f"say in ABOUT_NOBODY what {path} is about"
            tried = await bob.request(method, hers.at(path, hers.ids), json=body)
            assert tried.status_code == 404, (method, path, tried.status_code, tried.text)
            if f"{method} {path}" in OPENED_BEFORE:
                continue
            missing = await bob.request(method, hers.at(path, hers.missing), json=body)
            assert missing.status_code == 404, (method, path, missing.text)
            assert _without_ids(tried.text) == _without_ids(missing.text), path
        # And it is all still there, as it was.
        thread = (await alice.get(f"/threads/{hers.ids['thread_id']}")).json()
        assert thread["metadata"]["owner"] == "alice"
        assistant = (await alice.get(f"/assistants/{hers.ids['assistant_id']}")).json()
        assert (assistant["version"], assistant["metadata"]["owner"]) == (1, "alice")
        runs = (await alice.get(f"/threads/{hers.ids['thread_id']}/runs")).json()
        assert [run["run_id"] for run in runs] == [hers.ids["run_id"]]


def _without_ids(text: str) -> str:
    """An answer may repeat the id it was asked for."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text)


async def test_hers_are_there_for_her_by_the_same_routes(guarded_http: Any, hers: Hers) -> None:
    """What is refused above is refused for whose it is, and for nothing else."""
    async with guarded_http("alice") as alice:
        for method, path in await _served(alice):
            is_reading = method == "GET" and "{" in path and not path.endswith("/stream")
            if not is_reading:
                continue
            answer = await alice.get(hers.at(path, hers.ids))
            assert answer.status_code == 200, (path, answer.text)


async def test_foreign_ids_are_taken(guarded_http: Any, hers: Hers) -> None:
    async with guarded_http("bob") as bob:
        for if_exists in ("raise", "do_nothing"):
            body = {"thread_id": hers.ids["thread_id"], "if_exists": if_exists}
            answer = await bob.post("/threads", json=body)
            assert (answer.status_code, answer.json()["detail"]) == (409, "Thread already exists.")
            body = {
                "assistant_id": hers.ids["assistant_id"],
                "graph_id": "whoami",
                "if_exists": if_exists,
            }
            answer = await bob.post("/assistants", json=body)
            assert answer.status_code == 409
        for if_not_exists in ("create", "reject"):
            body = {**RUN, "if_not_exists": if_not_exists}
            answer = await bob.post(f"/threads/{hers.ids['thread_id']}/runs", json=body)
            assert answer.status_code == 404


async def test_foreign_things_are_not_found_and_not_counted(guarded_http: Any, hers: Hers) -> None:
    thread_id, assistant_id = hers.ids["thread_id"], hers.ids["assistant_id"]
    async with guarded_http("bob") as bob:
        for body in ({}, {"ids": [thread_id]}, {"metadata": {"owner": "alice"}}):
            found = (await bob.post("/threads/search", json={**body, "limit": 1000})).json()
            assert thread_id not in [thread["thread_id"] for thread in found]
        shared = {"owner": "alice", "readers": ["bob"]}
        counts = [
            (await bob.post("/threads/count", json={"metadata": metadata})).json()
            for metadata in ({"owner": "alice"}, shared)
        ]
        assert counts[0] == counts[1]
        found = (await bob.post("/assistants/search", json={"limit": 1000})).json()
        assert assistant_id not in [each["assistant_id"] for each in found]
        assert {each["metadata"].get("created_by") for each in found} == {"system"}
        count = await bob.post("/assistants/count", json={"metadata": {"owner": "alice"}})
        assert count.json() == 0
        assert (await bob.post("/runs/crons/search", json={"limit": 1000})).json() == []
        count = await bob.post("/runs/crons/count", json={"metadata": {"topic": "x"}})
        assert count.json() == 0
        listed = (await bob.get("/webhooks/deliveries", params={"limit": 1000})).json()
        assert hers.ids["delivery_id"] not in [each["delivery_id"] for each in listed]
        pruned = await bob.post("/threads/prune", json={"thread_ids": [thread_id, str(uuid4())]})
        assert pruned.json() == {"pruned_count": 0}
        run_ids = [hers.ids["run_id"]]
        cancelled = await bob.post(
            "/runs/cancel", json={"thread_id": thread_id, "run_ids": run_ids}
        )
        assert cancelled.status_code == 404


async def test_foreign_assistants_run_nothing(guarded_http: Any, hers: Hers) -> None:
    async with guarded_http("bob") as bob:
        for assistant_id in (hers.ids["assistant_id"], str(uuid4())):
            body = {"assistant_id": assistant_id, "input": {}}
            for path in ("/runs", "/runs/wait", "/runs/stream"):
                answer = await bob.post(path, json=body)
                assert answer.status_code == 404
                assert answer.json()["detail"] == "Thread or assistant not found."
            assert (await bob.post("/runs/batch", json=[RUN, body])).status_code == 404
            cron = {**body, "schedule": "0 0 31 12 *"}
            assert (await bob.post("/runs/crons", json=cron)).status_code == 404


async def test_a_cron_is_its_makers(guarded_http: Any, hers: Hers) -> None:
    async with guarded_http("alice") as alice:
        place = f"/runs/crons/{hers.ids['cron_id']}"
        cron = (await alice.get(place)).json()
        assert (cron["user_id"], cron["metadata"]) == ("alice", {"owner": "alice", "topic": "x"})
        found = (await alice.post("/runs/crons/search", json={"limit": 1000})).json()
        assert hers.ids["thread_id"] in [each["thread_id"] for each in found]
        changed = {"metadata": {"owner": "bob", "topic": "y"}, "assistant_id": "whoami"}
        answer = await alice.patch(place, json=changed)
        assert answer.json()["metadata"] == {"owner": "alice", "topic": "y"}
        assert answer.json()["user_id"] == "alice"


async def test_a_cron_works_for_its_maker(guarded_http: Any) -> None:
    async with guarded_http("alice") as alice, guarded_http("bob") as bob:
        body = {**RUN, "schedule": "* * * * * *", "on_run_completed": "keep"}
        cron = (await alice.post("/runs/crons", json=body)).json()
        filter_ = {"metadata": {"cron_id": cron["cron_id"]}}

        async def told() -> Any:
            found = (await alice.post("/threads/search", json=filter_)).json()
            return [each["values"]["value"] for each in found if each["values"]]

        [first, *_] = await eventually(told, within_s=30)
        await alice.delete(f"/runs/crons/{cron['cron_id']}")
        assert (first["made_for"], first["user_id"]) == ("alice", "alice")
        assert first["token"] == "s3cret-alice"
        assert (await bob.post("/threads/search", json=filter_)).json() == []


@pytest.mark.parametrize("method", COMMANDS)
async def test_no_command_reaches_a_foreign_thread(
    guarded_http: Any, hers: Hers, method: str
) -> None:
    command = {"id": 1, "method": method, "params": COMMANDS[method]}
    async with guarded_http("bob") as bob:
        answer = await bob.post(f"/threads/{hers.ids['thread_id']}/commands", json=command)
        assert answer.status_code == 404, answer.text


async def test_a_websocket_of_a_foreign_thread_is_not_opened(guarded: Any, hers: Hers) -> None:
    url = guarded.url.replace("http", "ws") + f"/threads/{hers.ids['thread_id']}/stream/events"
    for name, status in (("bob", 404), ("mallory", 403), ("", 401)):
        headers = {"authorization": f"Bearer {name}"} if name else {}
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers=headers):
                pass
        assert refused.value.response.status_code == status
    async with connect(url, additional_headers={"authorization": "Bearer alice"}) as socket:
        params = {"channels": ["lifecycle"]}
        command = {"id": 1, "method": "subscription.subscribe", "params": params}
        await socket.send(json.dumps(command))
        assert json.loads(await socket.recv())["type"] in ("event", "success")


async def test_a_thread_watched_before_it_was_made_shows_nothing_to_others(
    guarded: Any, guarded_http: Any
) -> None:
    thread_id = str(uuid4())
    path = f"/threads/{thread_id}/stream/events"
    url = guarded.url.replace("http", "ws") + path
    async with (
        guarded_http("alice") as alice,
        guarded_http("bob") as bob,
        connect(url, additional_headers={"authorization": "Bearer bob"}) as socket,
        bob.stream("POST", path, json={"channels": ["values", "lifecycle"]}) as watched,
        alice.stream("POST", path, json={"channels": ["values", "lifecycle"]}) as own,
    ):
        subscribe = {
            "id": 1,
            "method": "subscription.subscribe",
            "params": {"channels": ["values"]},
        }
        await socket.send(json.dumps(subscribe))
        assert json.loads(await socket.recv())["type"] == "success"
        start = {"id": 1, "method": "run.start", "params": COMMANDS["run.start"]}
        assert (await alice.post(f"/threads/{thread_id}/commands", json=start)).status_code == 200

        async def lines(answer: httpx.Response, until: str) -> str:
            seen = ""
            async for text in answer.aiter_text():
                seen += text
                if until in seen:
                    break
            return seen

        async with asyncio.timeout(30):
            assert "completed" in await lines(own, "completed")
            told = await lines(watched, "event")
            assert "alice" not in told and "event" not in told
            last = json.loads(await socket.recv())
            assert (last["type"], last["message"]) == ("error", "404: Thread not found.")


async def test_a_webhook_tells_who_it_was_for_and_nothing_secret(hook: Any, hers: Hers) -> None:
    _, told = hook
    [body] = [text for text in told if hers.ids["run_id"].encode() in text]
    heard = json.loads(body)
    assert heard["kwargs"]["config"]["configurable"]["langgraph_auth_user_id"] == "alice"
    del heard["values"]
    assert "s3cret" not in json.dumps(heard)
