"""A service is configured as the product we replace was, and says what it does not do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from bedplate.devstack.stack import Stack

REPLICA = 7


@pytest.fixture
def gateway(stack: Stack) -> Iterator[httpx.Client]:
    """One more gateway, with an environment that was brought along."""
    env = {
        "FF_V2_EVENT_STREAMING": "false",
        "HTTP_MAX_REQUEST_BODY_BYTES": "2048",
        "LANGGRAPH_POSTGRES_POOL_MAX_SIZE": "3",
        "BG_JOB_ISOLATED_LOOPS": "true",
        "LANGGRAPH_CLOUD_LICENSE_KEY": "hunter2",
    }
    stack.start_service("gateway", replica=REPLICA, env=env)
    try:
        url = stack.url_of("gateway", replica=REPLICA)
        with httpx.Client(base_url=url, timeout=30) as client:
            yield client
    finally:
        stack.stop_service("gateway", replica=REPLICA)


def test_an_environment_that_was_brought_along_counts(gateway: httpx.Client, stack: Stack) -> None:
    too_long = gateway.post("/threads", json={"metadata": {"long": "x" * 4096}})
    assert (too_long.status_code, "2048" in too_long.text) == (413, True)
    thread_id = gateway.post("/threads", json={}).json()["thread_id"]
    command = {"id": 1, "method": "agent.getTree", "params": {}}
    assert gateway.post(f"/threads/{thread_id}/commands", json=command).status_code == 404
    other = httpx.post(f"{stack.url}/threads/{thread_id}/commands", json=command, timeout=30)
    assert other.status_code == 200, "elsewhere it is served"

    log = stack.logs("gateway", replica=REPLICA).read_text()
    records = [json.loads(line) for line in log.splitlines()]
    (noticed,) = [each for each in records if each["event"] == "configuration.noticed"]
    named = [notice.split()[0] for notice in noticed["notices"]]
    assert {"BG_JOB_ISOLATED_LOOPS", "LANGGRAPH_CLOUD_LICENSE_KEY"} <= set(named)
    assert "hunter2" not in log
