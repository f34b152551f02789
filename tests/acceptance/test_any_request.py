"""Whatever is sent to any path of the document, the answer is one that the document tells of: never
a failure of ours, never another status, type or shape."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bedplate.devstack.stack import Stack

PUBLISHED = Path(__file__).parents[2] / "proto" / "published" / "openapi.json"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# It stays open and silent for a thread that is not there yet.
NEVER_ENDS = "/threads/{thread_id}/stream/events"
WAIT_S_MAX = 20.0
# The same few each time, so that the suite stays short and its answer the same. More, and others:
# ANY_REQUEST_EXAMPLES=200.
EXAMPLES = int(os.environ.get("ANY_REQUEST_EXAMPLES", "4"))

api: Any = schemathesis.openapi.from_path(PUBLISHED)
api.config.phases.coverage.enabled = False


@dataclass
class Things:
    """What is there, so that not every answer is a 404."""

    url: str
    thread_id: str
    run_id: str
    assistant_id: str


@pytest.fixture(scope="module")
def things(stack: Stack) -> Iterator[Things]:
    with httpx.Client(base_url=stack.url, timeout=WAIT_S_MAX) as http:
        thread_id = http.post("/threads", json={}).json()["thread_id"]
        run = {"assistant_id": "noop", "input": {"value": 1}}
        http.post(f"/threads/{thread_id}/runs/wait", json=run)
        run_id = http.get(f"/threads/{thread_id}/runs").json()[0]["run_id"]
        assistant_id = http.post("/assistants", json={"graph_id": "noop"}).json()["assistant_id"]
        yield Things(stack.url, thread_id, run_id, assistant_id)
        # They would fire for the rest of the session.
        while crons := http.post("/runs/crons/search", json={"limit": 1000}).json():
            for cron in crons:
                http.delete(f"/runs/crons/{cron['cron_id']}")


def _is_even(text: str) -> bool:
    try:
        return UUID(text).int % 2 == 0
    except ValueError:
        return len(text) % 2 == 0


def _aim(case: Any, things: Things) -> None:
    """Half of the ids are of something that is there, and what runs ends soon."""
    path: dict[str, Any] = case.path_parameters or {}
    for name in ("thread_id", "run_id", "assistant_id"):
        waits = name == "thread_id" and case.path == "/threads/{thread_id}/stream"
        if case.method != "DELETE" and not waits and _is_even(str(path.get(name, "odd"))):
            path[name] = getattr(things, name)
    bodies = case.body if isinstance(case.body, list) else [case.body]
    for body in bodies:
        if not isinstance(body, dict):
            continue
        if isinstance(body.get("after_seconds"), int | float):
            body["after_seconds"] = min(body["after_seconds"], 0.01)
        for name, real in (("assistant_id", "noop"), ("graph_id", "noop")):
            if isinstance(body.get(name), str) and _is_even(body[name]):
                body[name] = real
        if isinstance(body.get("schedule"), str) and _is_even(body["schedule"]):
            body["schedule"] = "0 0 1 1 *"


@api.exclude(path=NEVER_ENDS).parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="ANY_REQUEST_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_any_request_gets_an_answer_that_is_documented(case: Any, things: Things) -> None:
    _aim(case, things)
    answer = case.call(base_url=things.url, timeout=WAIT_S_MAX)
    case.validate_response(answer, checks=CHECKS)
