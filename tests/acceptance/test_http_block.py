"""The block `http` of `langgraph.json`: one's own app around the API, where and to whom the API is
served, and what is switched off. Each variation is one more gateway of a stack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from websockets.asyncio.client import connect

from bedplate.devstack.errors import ConfigurationRefused
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate_gateway.http_block import NEVER

FRONT = "./guarded/front.py:app"
OPEN = {
    "app": FRONT,
    "mount_prefix": "/api",
    "cors": {
        "allow_origins": ["https://app.example"],
        "allow_credentials": True,
        "expose_headers": ["x-front"],
        "max_age": 60,
    },
    "configurable_headers": {"includes": ["x-*", "authorization"], "excludes": ["x-secret*"]},
    "logging_headers": {"includes": ["x-trace"]},
}
BARE = {
    "disable_assistants": True,
    "disable_store": True,
    "disable_meta": True,
    "disable_event_streaming": True,
}

Gateway = Callable[..., int]


@pytest.fixture(scope="module")
def gateways() -> Iterator[Callable[[Stack], Gateway]]:
    """`gateways(stack)(**block)`: the number of a gateway with this block; gone with the module."""
    started: dict[tuple[Stack, str], int] = {}

    def of(stack: Stack) -> Gateway:
        def gateway(**block: Any) -> int:
            text = json.dumps(block, sort_keys=True)
            if (stack, text) not in started:
                replica = started[stack, text] = 20 + len(started)
                stack.start_service("gateway", replica=replica, env={"LANGGRAPH_HTTP": text})
            return started[stack, text]

        return gateway

    yield of
    for (stack, _), replica in started.items():
        stack.stop_service("gateway", replica=replica)


@pytest.fixture
def front(gateways: Any, stack: Stack) -> int:
    """The number of the gateway with `OPEN`."""
    return gateways(stack)(**OPEN)


@pytest.fixture
def fronted(front: int, stack: Stack) -> str:
    """Its URL."""
    return stack.url_of("gateway", replica=front)


def opened(url: str, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30)


async def test_its_own_routes_come_first_but_for_those_that_probes_need(fronted: str) -> None:
    async with opened(fronted) as http:
        assert (await http.get("/hello")).json() == {"greeting": "from the lifespan", "user": None}
        assert (await http.get("/info")).json() == {"ours": True}
        assert (await http.get("/ok")).json()["ok"] is True
        assert "bedplate" in (await http.get("/metrics")).text
        tea = await http.get("/tea")
        assert (tea.status_code, tea.json()) == (418, {"tea": "gone"})
        broken = await http.get("/breaks")
        assert (broken.status_code, broken.text) == (500, "Internal Server Error")
        wrong = await http.get("/threads")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"


async def test_its_middleware_is_around_everything(fronted: str) -> None:
    async with opened(fronted) as http:
        for answer in (
            await http.get("/hello"),
            await http.post("/assistants/search", json={}),
            await http.get("/threads/no-uuid"),
        ):
            assert answer.headers["x-front"] == "passed"
            assert answer.headers["x-request-id"]


async def test_its_document_is_merged_and_names_the_prefix(fronted: str) -> None:
    async with opened(fronted) as http:
        document = (await http.get("/openapi.json")).json()
    assert {"/hello", "/tea", "/threads", "/threads/{thread_id}"} <= document["paths"].keys()
    assert document["servers"] == [{"url": "/api"}]


async def test_below_a_prefix_clients_find_everything_and_beside_it_nothing(fronted: str) -> None:
    assert fronted.endswith("/api")
    async with get_client(url=fronted, api_key=None) as client:
        thread = await client.threads.create()
        given: Any = {"steps": 3}
        parts = [
            part.event
            async for part in client.runs.stream(thread["thread_id"], "steps", input=given)
        ]
        assert parts == ["metadata", "values", "values", "values", "values"]
        run = await client.runs.create(thread["thread_id"], "noop", input={})
        joined = client.runs.join_stream(thread["thread_id"], run["run_id"])
        assert [part.event async for part in joined if part.event == "error"] == []
    async with opened(fronted.removesuffix("/api")) as http:
        for path in ("/ok", "/threads/search", "/hello", "/apiary"):
            assert (await http.get(path)).status_code == 404


async def test_sockets_pass_through_it_too(fronted: str) -> None:
    base = fronted.replace("http://", "ws://")
    async with connect(f"{base}/echo") as own:
        await own.send("hello")
        assert await own.recv() == "hello"
    async with get_client(url=fronted, api_key=None) as client:
        thread_id = (await client.threads.create())["thread_id"]
    async with connect(f"{base}/threads/{thread_id}/stream/events") as ours:
        await ours.send(json.dumps({"id": 1, "method": "agent.getTree", "params": {}}))
        assert json.loads(await ours.recv())["id"] == 1


async def test_a_client_that_leaves_is_noticed_through_its_middleware(fronted: str) -> None:
    async with get_client(url=fronted, api_key=None) as client:
        thread_id = (await client.threads.create())["thread_id"]
        body = {"assistant_id": "sleeps", "input": {"seconds": 60}, "on_disconnect": "cancel"}
        async with (
            opened(fronted) as http,
            http.stream("POST", f"/threads/{thread_id}/runs/stream", json=body) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("event: metadata"):
                    break

        async def status() -> str:
            return (await client.runs.list(thread_id))[0]["status"]

        await eventually(status, equals="interrupted", within_s=30)


async def test_headers_that_are_named_reach_the_run_and_secrets_never_do(fronted: str) -> None:
    headers = {"x-tenant": "blue", "x-secret-word": "s", "x-api-key": "k", "user-agent": "me"}
    async with opened(fronted, **headers, authorization="Bearer t") as http:
        thread_id = (await http.post("/threads", json={})).json()["thread_id"]
        for path in ("/runs", f"/threads/{thread_id}/runs"):
            run = (await http.post(path, json={"assistant_id": "noop", "input": {}})).json()
            configurable = run["kwargs"]["config"]["configurable"]
            assert configurable["x-tenant"] == "blue"
            assert not configurable.keys() & {*NEVER, "x-secret-word", "user-agent"}


async def test_headers_that_are_named_stand_in_the_log(
    front: int, fronted: str, stack: Stack
) -> None:
    async with opened(fronted, **{"x-trace": "trace-77", "x-tenant": "unlogged"}) as http:
        assert (await http.get("/breaks")).status_code == 500
    log = stack.logs("gateway", replica=front)

    def failure() -> Any:
        lines = [json.loads(line) for line in log.read_text().splitlines() if "trace-77" in line]
        return lines[0] if lines else None

    told = await eventually(failure, within_s=10)
    assert told["headers"] == {"x-trace": "trace-77"}


async def test_pages_of_other_origins_may_do_what_it_says(fronted: str) -> None:
    async with opened(fronted) as http:
        ask = {"access-control-request-method": "POST"}
        yes = await http.options("/threads", headers={"origin": "https://app.example", **ask})
        assert yes.headers["access-control-allow-origin"] == "https://app.example"
        assert yes.headers["access-control-allow-credentials"] == "true"
        assert yes.headers["access-control-max-age"] == "60"
        no = await http.options("/threads", headers={"origin": "https://other.example", **ask})
        assert no.status_code == 400
        told = (await http.get("/hello", headers={"origin": "https://app.example"})).headers
        exposed = told["access-control-expose-headers"]
        assert "x-front" in exposed and "Content-Location" in exposed


async def test_what_is_switched_off_is_not_there(gateways: Any, stack: Stack) -> None:
    bare = stack.url_of("gateway", replica=gateways(stack)(**BARE))
    async with opened(bare) as http:
        for method, path in (
            ("POST", "/assistants/search"),
            ("PUT", "/store/items"),
            ("POST", "/store/items/search"),
            ("GET", "/info"),
            ("GET", "/metrics"),
            ("GET", "/docs"),
            ("GET", "/openapi.json"),
            ("POST", "/threads/0/commands"),
        ):
            assert (await http.request(method, path, json={})).status_code == 404, path
        assert (await http.get("/ok")).json() == {"ok": True}
        body = {"assistant_id": "noop", "input": {"value": 1}}
        assert (await http.post("/runs/wait", json=body)).json()["value"] == 1
    replica = gateways(stack)(disable_threads=True, disable_runs=True)
    async with opened(stack.url_of("gateway", replica=replica)) as http:
        for path in ("/threads", "/runs", "/runs/crons", "/threads/search", "/runs/wait"):
            assert (await http.post(path, json={})).status_code == 404, path
        assert (await http.get("/info")).json()["flags"]["crons"] is False
        assert (await http.post("/assistants/search", json={})).status_code == 200


@pytest.mark.parametrize(
    ("block", "unknown", "known"),
    [
        # Its routes are open unless they are to be asked for; middleware sees what was refused.
        ({}, (200, None), (200, None)),
        ({"enable_custom_route_auth": True}, (401, None), (200, "alice")),
        (
            {"enable_custom_route_auth": True, "middleware_order": "auth_first"},
            (401, None),
            (200, "alice"),
        ),
    ],
)
async def test_its_routes_are_asked_for_a_token_if_it_says_so(
    gateways: Any,
    guarded: Stack,
    block: dict[str, Any],
    unknown: tuple[int, Any],
    known: tuple[int, Any],
) -> None:
    replica = gateways(guarded)(app="./front.py:app", **block)
    url = guarded.url_of("gateway", replica=replica)
    async with opened(url) as nobody, opened(url, authorization="Bearer alice") as alice:
        for http, (status, user) in ((nobody, unknown), (alice, known)):
            answer = await http.get("/hello")
            assert answer.status_code == status
            assert answer.json().get("user") == user
        refused = await nobody.post("/threads/search", json={})
        assert refused.status_code == 401
        is_outside = block.get("middleware_order") != "auth_first"
        assert ("x-front" in refused.headers) is is_outside
        assert (await nobody.get("/ok")).status_code == 200
        assert (await alice.post("/threads/search", json={})).headers["x-front"] == "passed"


async def test_the_run_gets_headers_and_its_user(gateways: Any, guarded: Stack) -> None:
    block = {"configurable_headers": {"includes": ["x-flag", "langgraph_auth_user_id", "user_id"]}}
    forged = {"x-flag": "up", "langgraph_auth_user_id": "bob", "user_id": "bob"}
    url = guarded.url_of("gateway", replica=gateways(guarded)(**block))
    async with opened(url, authorization="Bearer alice", **forged) as http:
        body = {"assistant_id": "whoami", "input": {}}
        told = (await http.post("/runs/wait", json=body)).json()["value"]
    assert told["headers"] == {"x-flag": "up"}
    assert (told["langgraph_auth_user_id"], told["user_id"]) == ("alice", "alice")


async def test_a_project_that_is_told_by_a_variable_alone_finds_its_own_packages(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "told_by_variable.py").write_text(
        "from starlette.applications import Starlette\napp = Starlette()\n"
    )
    whole = {
        "graphs": {"agent": "./agent.py:graph"},
        "dependencies": [str(tmp_path / "parts")],
        "http": {"app": "told_by_variable:app", "mount_prefix": "/told"},
    }
    env = {"LANGGRAPH_CONFIG": json.dumps(whole), "BEDPLATE_GATEWAY_CONFIG": ""}
    await asyncio.to_thread(stack.start_service, "gateway", replica=41, env=env)
    try:
        url = stack.url_of("gateway", replica=41)
        assert url.endswith("/told")
        async with opened(url) as http:
            assert (await http.get("/info")).status_code == 200
    finally:
        await asyncio.to_thread(stack.stop_service, "gateway", replica=41)


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"LANGGRAPH_HTTP": {"app": "./guarded/front.py:gone"}}, "'http.app' cannot be loaded"),
        ({"LANGGRAPH_HTTP": {"app": "./guarded/front.py:nothing"}}, "must be an app of Starlette"),
        ({"LANGGRAPH_HTTP": {"app": "./guarded/front.py:fails"}}, "the cache cannot be reached"),
        ({"LANGGRAPH_HTTP": {"mount_prefix": "api"}}, "http.mount_prefix: must be a path"),
        ({"LANGGRAPH_AUTH": {"path": "./guarded/gone.py:auth"}}, "'auth.path'"),
        ({"LANGGRAPH_AUTH": {"path": "./guarded/front.py:nothing"}}, "'auth.path'"),
    ],
)
async def test_what_cannot_be_loaded_is_said_at_start(
    stack: Stack, env: dict[str, Any], told: str
) -> None:
    given = {name: json.dumps(value) for name, value in env.items()}
    with pytest.raises(ConfigurationRefused) as refused:
        await asyncio.to_thread(stack.start_service, "gateway", replica=40, env=given)
    stack.stop_service("gateway", replica=40)
    assert told in str(refused.value)
    assert "bedplate_gateway" not in str(refused.value), "the traceback is the project's"
