"""Webhooks of the whole product against a receiver that works, fails, redirects and hangs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate.testing.receivers import Receiver, receiving

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
BEDPLATE = str(Path(sysconfig.get_path("scripts")) / "bedplate")
KEY = b"a key of thirty-two bytes, or so"
SETTINGS = {
    "LANGGRAPH_WEBHOOKS": json.dumps(
        {
            "url": {"require_https": False, "disable_loopback": False},
            "headers": {"Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}"},
        }
    ),
    "LG_WEBHOOK_TOKEN": "t0ken",
    "WEBHOOK_SECRET": "whsec_" + base64.b64encode(KEY).decode(),
    "BEDPLATE_WEBHOOK_DISPATCHER_RETRY_BASE_S": "0.2",
    "BEDPLATE_WEBHOOK_DISPATCHER_RETRY_S_MAX": "0.5",
    "BEDPLATE_WEBHOOK_DISPATCHER_RETRY_WINDOW_S": "60",
    "BEDPLATE_WEBHOOK_DISPATCHER_DELIVER_S": "4",
}


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    """Two: a host and port is what the dispatcher calls a destination."""
    with receiving() as one, receiving() as other:
        yield [one, other]


@pytest.fixture
def receiver(receivers: list[Receiver]) -> Receiver:
    return receivers[0]


@pytest.fixture(scope="module")
def hooked(run_stack: Any) -> Stack:
    """A stack that may call this machine, signs, and is impatient."""
    return run_stack(GRAPHS, env=SETTINGS)


@pytest.fixture
async def hooks(hooked: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=hooked.url, timeout=30) as opened:
        yield opened


@pytest.fixture
async def runs(hooked: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=hooked.url, api_key=None) as opened:
        yield opened


async def _on_thread(client: LangGraphClient, graph: str, **given: Any) -> Any:
    thread = await client.threads.create()
    return await client.runs.create(thread["thread_id"], graph, **given)


async def _delivery(hooks: httpx.AsyncClient, run: Any, status: str, within_s: float = 20) -> Any:
    async def found() -> Any:
        answer = await hooks.get("/webhooks/deliveries", params={"run_id": run["run_id"]})
        (delivery,) = answer.json()
        return delivery

    return await eventually(
        found, satisfies=lambda delivery: delivery["status"] == status, within_s=within_s
    )


async def test_a_finished_run_is_told_with_its_row_values_and_times(
    runs: LangGraphClient, hooks: httpx.AsyncClient, receiver: Receiver
) -> None:
    run = await _on_thread(
        runs, "noop", input={"value": 1}, metadata={"m": 1}, webhook=f"{receiver.url}/ok?x=1"
    )
    heard = await receiver.first_of(run)
    told = heard.told
    row = await runs.runs.get(run["thread_id"], run["run_id"])
    assert {name: told[name] for name in row} == row
    assert told["status"] == "success" and told["kwargs"]["input"] == {"value": 1}
    assert told["values"] == {"value": 1} and told["error"] is None
    assert told["created_at"] <= told["run_started_at"] <= told["run_ended_at"]
    assert told["run_ended_at"] <= told["webhook_sent_at"]
    assert (heard.path, heard.headers["content-type"]) == ("/ok?x=1", "application/json")
    assert heard.headers["authorization"] == "Bearer t0ken"
    delivery = await _delivery(hooks, run, "delivered")
    assert (delivery["tries"], delivery["last_status_code"]) == (1, 200)
    assert delivery["settled_at"] and delivery["next_try_at"] is None
    one = await hooks.get(f"/webhooks/deliveries/{delivery['delivery_id']}")
    assert one.json() == delivery


async def test_a_delivery_is_signed_so_that_a_receiver_can_tell(
    runs: LangGraphClient, receiver: Receiver
) -> None:
    heard = await receiver.first_of(await _on_thread(runs, "noop", webhook=f"{receiver.url}/ok"))
    message, timestamp = heard.headers["webhook-id"], heard.headers["webhook-timestamp"]
    signed = f"{message}.{timestamp}.".encode() + heard.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert heard.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(timestamp) - heard.at) < 10


async def test_every_way_a_run_can_end_is_told(
    runs: LangGraphClient, hooks: httpx.AsyncClient, receiver: Receiver
) -> None:
    url = f"{receiver.url}/ok"
    failed = await _on_thread(runs, "raises", input={"message": "broke"}, webhook=url)
    waits = await _on_thread(runs, "approval", input={"question": "?"}, webhook=url)
    stopped, undone, removed = [
        await _on_thread(runs, "sleeps", input={"seconds": 60}, webhook=url) for _ in range(3)
    ]
    never = await runs.runs.create(
        stopped["thread_id"], "noop", webhook=url, multitask_strategy="enqueue"
    )
    for run in (stopped, undone, removed):
        await eventually(
            lambda run=run: runs.runs.get(run["thread_id"], run["run_id"]),
            satisfies=lambda row: row["status"] == "running",
            within_s=20,
        )
    await runs.runs.cancel(never["thread_id"], never["run_id"], action="interrupt")
    await runs.runs.cancel(stopped["thread_id"], stopped["run_id"], action="interrupt")
    await runs.runs.cancel(undone["thread_id"], undone["run_id"], action="rollback")
    await runs.threads.delete(removed["thread_id"])
    expected = {
        "error": failed,
        "success": waits,
        "interrupted": stopped,
        "rollback": undone,
    }
    for status, run in expected.items():
        told = (await receiver.first_of(run)).told
        assert told["status"] == status, told
        assert told["kwargs"]["webhook"] == url
        assert (told["error"] is not None) == (status == "error")
        assert told["run_ended_at"] is not None
    assert (await receiver.first_of(failed)).told["error"] == "broke"
    assert (await receiver.first_of(undone)).told["values"] is None
    assert (await receiver.first_of(never)).told["status"] == "interrupted"
    assert (await receiver.first_of(removed)).told["status"] == "interrupted"


async def test_a_stateless_run_is_told_without_values(
    runs: LangGraphClient, receiver: Receiver
) -> None:
    run = await runs.runs.create(None, "noop", input={"value": 1}, webhook=f"{receiver.url}/ok")
    told = (await receiver.first_of(run)).told
    assert (told["status"], told["values"]) == ("success", None)
    assert told["kwargs"]["input"] == {"value": 1}


async def test_a_receiver_that_fails_is_tried_again_under_the_same_id(
    runs: LangGraphClient, hooks: httpx.AsyncClient, receiver: Receiver
) -> None:
    run = await _on_thread(runs, "noop", webhook=f"{receiver.url}/fails?times=2")
    delivery = await _delivery(hooks, run, "delivered")
    assert delivery["tries"] == 3
    heard = receiver.of(run)
    assert len({each.headers["webhook-id"] for each in heard}) == 1
    assert len({each.told["webhook_sent_at"] for each in heard}) == 3


async def test_what_is_refused_for_good_is_a_dead_letter_until_it_is_asked_for_again(
    hooked: Stack, runs: LangGraphClient, hooks: httpx.AsyncClient, receiver: Receiver
) -> None:
    url = f"{receiver.url}/says?status=404"
    run, other = [await _on_thread(runs, "noop", webhook=url) for _ in range(2)]
    delivery = await _delivery(hooks, run, "dead")
    assert (delivery["tries"], delivery["last_error"]) == (1, "HTTP 404")
    assert (await _delivery(hooks, other, "dead"))["tries"] == 1
    dead = (await hooks.get("/webhooks/deliveries", params={"status": "dead"})).json()
    assert delivery in dead
    answer = await hooks.post(f"/webhooks/deliveries/{delivery['delivery_id']}/redeliver")
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    await eventually(lambda: len(receiver.of(run)), equals=2, within_s=10)
    command = [BEDPLATE, "webhooks", "--url", hooked.url]
    listed = _printed([*command, "list", "--status", "dead", "--run", other["run_id"]])
    assert "HTTP 404" in listed and other["run_id"] in listed and run["run_id"] not in listed
    _printed([*command, "redeliver", "--dead"])
    await eventually(lambda: len(receiver.of(other)), equals=2, within_s=10)
    first, second = receiver.of(other)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_delivery_that_does_not_exist_is_404(hooks: httpx.AsyncClient) -> None:
    unknown = "/webhooks/deliveries/3fa85f64-5717-4562-b3fc-2c963f66afa6"
    assert (await hooks.get(unknown)).status_code == 404
    assert (await hooks.post(f"{unknown}/redeliver")).status_code == 404
    assert (await hooks.get("/webhooks/deliveries", params={"status": "lost"})).status_code == 422
    assert (await hooks.post("/webhooks/deliveries/seven/redeliver")).status_code == 422


async def test_a_receiver_that_hangs_delays_nobody_else(
    runs: LangGraphClient, hooks: httpx.AsyncClient, receivers: list[Receiver]
) -> None:
    hanging, healthy = receivers
    for _ in range(20):
        await runs.runs.create(None, "noop", webhook=f"{hanging.url}/hangs")
    await eventually(lambda: len(hanging.heard), satisfies=lambda count: count >= 8, within_s=20)
    began = time.monotonic()
    run = await _on_thread(runs, "noop", webhook=f"{healthy.url}/ok")
    await healthy.first_of(run, within_s=10)
    assert time.monotonic() - began < 3, "less than the 4 s that the others hang for"
    # Those that hung were given up after a while; from then on their host gets one at a time.
    assert len(hanging.heard) <= 8
    hanging.released.set()
    ids = {each.told["run_id"] for each in hanging.heard}
    await eventually(
        lambda: ids.update(each.told["run_id"] for each in hanging.heard) or len(ids),
        equals=20,
        within_s=40,
    )


async def test_a_redirect_is_followed_with_the_body_and_without_the_receivers_secret(
    runs: LangGraphClient, hooks: httpx.AsyncClient, receivers: list[Receiver]
) -> None:
    first, second = receivers
    run = await _on_thread(runs, "noop", webhook=f"{first.url}/redirects?to={second.url}/ok")
    heard = await second.first_of(run)
    (before,) = first.of(run)
    assert heard.body == before.body
    assert before.headers["authorization"] == "Bearer t0ken"
    assert "authorization" not in heard.headers
    assert heard.headers["webhook-signature"] == before.headers["webhook-signature"]
    here = await _on_thread(runs, "noop", webhook=f"{first.url}/redirects?to=/ok")
    assert (await first.first_of(here, at="/ok")).headers["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("http://169.254.169.254/latest/meta-data", "metadata"),
        ("http://[::ffff:169.254.169.254]/", "metadata"),
        ("http://0/", "no name or address"),
        ("file:///etc/passwd", "must begin with http"),
    ],
)
async def test_a_redirect_to_where_no_webhook_may_go_is_not_followed(
    to: str, why: str, runs: LangGraphClient, hooks: httpx.AsyncClient, receiver: Receiver
) -> None:
    run = await _on_thread(runs, "noop", webhook=f"{receiver.url}/redirects?to={to}")
    delivery = await _delivery(hooks, run, "dead")
    assert why in delivery["last_error"]


async def test_a_path_calls_the_servers_own_app(
    runs: LangGraphClient, hooks: httpx.AsyncClient
) -> None:
    run = await _on_thread(runs, "noop", webhook="/threads/search")
    # What is told happens to be a search too, for threads with the run's metadata.
    assert (await _delivery(hooks, run, "delivered"))["last_status_code"] == 200


async def test_a_dispatcher_that_is_killed_loses_no_delivery(
    hooked: Stack, runs: LangGraphClient, hooks: httpx.AsyncClient, receiver: Receiver
) -> None:
    hooked.kill("webhook-dispatcher")
    try:
        gone = await runs.runs.create(
            None, "noop", input={"value": 1}, webhook=f"{receiver.url}/ok"
        )
        undone = await _on_thread(runs, "sleeps", input={"seconds": 60}, webhook=receiver.url)
        await runs.runs.cancel(undone["thread_id"], undone["run_id"], action="rollback", wait=True)
        assert (await hooks.post(
            "/webhooks/deliveries/3fa85f64-5717-4562-b3fc-2c963f66afa6/redeliver"
        )).status_code == 503  # fmt: skip
    finally:
        hooked.start_service("webhook-dispatcher")
    assert (await receiver.first_of(gone)).told["status"] == "success"
    assert (await receiver.first_of(undone)).told["status"] == "rollback"


async def test_a_dispatcher_that_is_stopped_ends_its_tries_first(
    hooked: Stack, runs: LangGraphClient, hooks: httpx.AsyncClient, receiver: Receiver
) -> None:
    run = await _on_thread(runs, "noop", webhook=f"{receiver.url}/hangs")
    await receiver.first_of(run)
    stopping = asyncio.create_task(asyncio.to_thread(hooked.stop_service, "webhook-dispatcher"))
    try:
        log = hooked.logs("webhook-dispatcher")
        await eventually(lambda: "service.stopping" in log.read_text(), within_s=10)
        receiver.released.set()
        assert await stopping == 0
        delivery = await _delivery(hooks, run, "delivered", within_s=2)
        assert (delivery["tries"], len(receiver.of(run))) == (1, 1)
    finally:
        await asyncio.to_thread(hooked.start_service, "webhook-dispatcher")


async def test_what_was_delivered_is_counted(
    hooked: Stack, runs: LangGraphClient, receiver: Receiver
) -> None:
    await receiver.first_of(await _on_thread(runs, "noop", webhook=f"{receiver.url}/ok"))

    async def metrics() -> str:
        async with httpx.AsyncClient() as ops:
            return (await ops.get(f"{hooked.ops_url('webhook-dispatcher')}/metrics")).text

    await eventually(
        metrics,
        satisfies=lambda text: 'bedplate_webhook_deliveries_total{outcome="delivered"}' in text,
        within_s=10,
    )
    text = await metrics()
    for name in ("tries_total", "tried_seconds_count", "pending", "due", "dead", "under_way"):
        assert f"bedplate_webhook_{name}" in text


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:9/x",
        "http://127.0.0.1/x",
        "http://127.1/x",
        "http://0x7f000001/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://169.254.169.254/x",
        "http://user:pass@example.com/x",
        "//example.com/x",
        "/x",
        "ftp://example.com/x",
        "http://example.com/" + "x" * 4096,
        "http://exämple.com/x",
    ],
)
async def test_a_webhook_that_breaks_the_rules_is_422_before_there_is_a_run(
    http: httpx.AsyncClient, url: str
) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "noop", "webhook": url}
    for path in (f"/threads/{thread}/runs", "/runs", "/runs/stream", "/runs/wait"):
        answer = await http.post(path, json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"].startswith("webhook: ")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


def _printed(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
