"""The ops endpoint of a real process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import Any

from bedplate.testing.eventually import eventually

Start = Any


async def _ready(program: Any) -> dict[str, Any]:
    return json.loads((await program.get("/readyz"))[1])


async def test_a_working_service_is_alive_and_ready_and_shows_its_loops(start: Start) -> None:
    program = await start("plain")
    await program.logged("tick.ended")
    assert (await program.get("/healthz"))[0] == 200
    body = await eventually(
        lambda: _ready(program),
        satisfies=lambda body: body["loops"]["sweeper"]["last_report"] == {"swept": 3},
        within_s=10,
    )
    assert body["ready"] is True
    assert body["loops"]["sweeper"]["failing"] is None


async def test_a_check_that_fails_or_hangs_is_a_reason_not_an_error(start: Start) -> None:
    program = await start("unwell")
    await program.logged("service.started")
    status, body = await program.get("/readyz")
    assert status == 503
    assert json.loads(body)["waiting_for"] == {
        "depot": "no connection",
        "other": "no answer within 2 s",
    }


async def test_a_starting_and_a_stopping_service_is_alive_but_not_ready(
    start: Start, closed_door: socket.socket
) -> None:
    port = str(closed_door.getsockname()[1])
    starting = await start("waits_for_server", BEDPLATE_PROBE_NEEDED_PORT=port)
    await starting.logged("server.awaited")
    assert (await starting.get("/healthz"))[0] == 200
    assert (await _ready(starting))["waiting_for"] == {"service": "the depot is being opened"}

    stopping = await start("drains_for_ever", BEDPLATE_PROBE_STOP_S="60")
    await stopping.logged("service.started")
    stopping.send(signal.SIGTERM)
    await stopping.logged("drain.begun")
    assert (await stopping.get("/healthz"))[0] == 200
    assert (await _ready(stopping))["waiting_for"] == {"service": "the service is stopping"}


async def test_metrics_are_prometheus_text(start: Start) -> None:
    program = await start("plain")
    status, body = await program.get("/metrics")
    assert status == 200
    assert "\nbedplate_loop_lag_seconds " in body
    assert "\nprocess_cpu_seconds_total " in body


async def test_a_taken_port_is_a_configuration_error(start: Start) -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        program = await start("plain", BEDPLATE_PROBE_OPS_PORT=str(port))
        assert await program.exit_code() == 78
        text = f"BEDPLATE_PROBE_OPS_PORT: 127.0.0.1:{port} is taken"
        await eventually(lambda: text in program.text, within_s=5)


async def test_what_is_no_request_is_answered_and_harms_nobody(
    start: Start, raw_request: Any
) -> None:
    program = await start("plain")
    port = (await program.logged("ops.opened"))["port"]
    assert (await raw_request(port, "POST /healthz HTTP/1.1\r\n\r\n"))[0] == 405
    assert (await raw_request(port, "GET /nowhere HTTP/1.1\r\n\r\n"))[0] == 404
    assert (await raw_request(port, "nonsense\r\n\r\n"))[0] == 400
    assert (await raw_request(port, "GET / HTTP/1.1\r\nx: " + "y" * 9000 + "\r\n\r\n"))[0] == 400
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /heal")
    writer.close()
    assert (await program.get("/healthz"))[0] == 200
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0
