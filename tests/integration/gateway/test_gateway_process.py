"""The gateway as a process, alone: what it answers when others are away, and how it stops."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bedplate.devstack.errors import ConfigurationRefused
from bedplate.devstack.services import SERVICES
from bedplate.devstack.stack import Stack
from bedplate.ledger import make_pool

_GATEWAY = [kind for kind in SERVICES if kind.name == "gateway"]


@pytest.fixture(scope="module")
def alone() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="bedplate-alone-") as folder:
        Path(folder).chmod(0o755)
        env = {
            "BEDPLATE_GATEWAY_BODY_BYTES_MAX": "2048",
            "BEDPLATE_GATEWAY_CLIENTS_MAX": "20",
            "FF_CRONS_ENABLED": "false",
        }
        with Stack(Path(folder) / "data", services=_GATEWAY, env=env) as stack:
            yield stack


async def test_without_a_scheduler_what_touches_runs_is_503_with_a_time_to_retry(
    alone: Stack,
) -> None:
    async with httpx.AsyncClient(base_url=alone.url) as http:
        made = await http.post("/threads", json={})
        assert made.status_code == 200
        answer = await http.delete(f"/threads/{made.json()['thread_id']}")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "run-scheduler" in answer.json()["detail"]


async def test_the_body_limit_can_be_set_and_is_named(alone: Stack) -> None:
    async with httpx.AsyncClient(base_url=alone.url) as http:
        answer = await http.post("/threads", content=b" " * 2049)
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "The body is larger than the 2048 bytes this server accepts.",
    )


async def test_crons_can_be_switched_off(alone: Stack) -> None:
    async with httpx.AsyncClient(base_url=alone.url) as http:
        assert (await http.get("/info")).json()["flags"]["crons"] is False
        assert "/runs/crons" not in (await http.get("/openapi.json")).json()["paths"]
        answer = await http.post("/runs/crons", json={"assistant_id": "a", "schedule": "@daily"})
        assert answer.status_code == 404


async def test_a_full_server_answers_503(alone: Stack) -> None:
    host, port = alone.url.removeprefix("http://").split(":")
    held = [await asyncio.open_connection(host, int(port)) for _ in range(25)]
    try:
        async with httpx.AsyncClient(base_url=alone.url) as http:
            assert (await http.get("/info")).status_code == 503
    finally:
        for _, writer in held:
            writer.close()
            await writer.wait_closed()


def test_a_taken_port_is_told_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        tmp_path.chmod(0o755)
        stack = Stack(tmp_path / "data", services=_GATEWAY, port=port)
        with pytest.raises(ConfigurationRefused, match=f"BEDPLATE_GATEWAY_PORT.*{port} is taken"):
            stack.start()


async def _seed(database_uri: str) -> str:
    """A run that seems to run; the path of its stream."""
    async with make_pool(database_uri, size_max=1, application="test") as pool:
        row: Any = await pool.fetchrow(
            "WITH thread AS (INSERT INTO threads (thread_id, tenant, runs_active, status)"
            " VALUES (gen_random_uuid(), 'default', 1, 'busy') RETURNING thread_id)"
            " INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, status,"
            " multitask_strategy, kwargs) SELECT gen_random_uuid(), thread_id, 'default',"
            " gen_random_uuid(), 'g', 'running', 'enqueue', '{}' FROM thread"
            " RETURNING run_id, thread_id"
        )
    return f"/threads/{row['thread_id']}/runs/{row['run_id']}"


async def test_sigterm_cuts_streams_and_waits_and_exits_cleanly(alone: Stack) -> None:
    """Last in this file: the process is gone afterwards."""
    path = await _seed(alone.endpoints.database_uri)
    async with httpx.AsyncClient(base_url=alone.url, timeout=30) as http:
        async with (
            http.stream("GET", f"{path}/stream") as stream,
            http.stream("GET", f"{path}/join") as wait,
        ):
            assert stream.status_code == wait.status_code == 200
            stopping = asyncio.create_task(asyncio.to_thread(alone.stop_service, "gateway"))
            # What is half must not look whole: a client takes up only a stream that breaks.
            for cut in (stream, wait):
                with pytest.raises(httpx.RemoteProtocolError):
                    await cut.aread()
            assert await stopping == 0
    log = alone.logs("gateway").read_text()
    assert '"is_clean":true' in log
    assert os.linesep.join(line for line in log.splitlines() if '"level":"error"' in line) == ""
