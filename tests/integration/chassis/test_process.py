"""A service as a real process: order, signals, limits and exit codes."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from typing import Any

import pytest

from bedplate.testing.eventually import eventually

Start = Any


def _parts(program: Any) -> list[tuple[str, str]]:
    return [
        (record["event"], record["part"])
        for record in program.records()
        if record["event"].startswith("part.")
    ]


def _port(door: socket.socket) -> str:
    return str(door.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_stop_it_leaves_in_reverse_order_and_exits_with_0(
    start: Start, number: signal.Signals
) -> None:
    program = await start("plain")
    await program.logged("tick.ended")
    program.send(number)
    assert await program.exit_code() == 0
    assert _parts(program) == [
        ("part.opened", "first"),
        ("part.opened", "second"),
        ("part.closed", "second"),
        ("part.closed", "first"),
    ]
    assert program.events()[-1] == "service.stopped"


async def test_it_drains_before_anything_is_closed(start: Start) -> None:
    program = await start("plain")
    await program.logged("service.started")
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0
    events = program.events()
    assert events.index("drain.begun") < events.index("part.closed")
    assert program.records("drain.begun")[0]["run_id"] == "r1"


async def test_a_drain_without_end_is_cut_and_everything_is_still_closed(start: Start) -> None:
    program = await start("drains_for_ever", BEDPLATE_PROBE_STOP_S="1")
    await program.logged("service.started")
    began = time.monotonic()
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 1
    assert time.monotonic() - began < 10
    assert program.records("drain.failed")
    assert ("part.closed", "first") in _parts(program)


async def test_a_resource_that_hangs_does_not_keep_the_others_open(start: Start) -> None:
    program = await start("hangs_when_closed", BEDPLATE_PROBE_STOP_S="1")
    await program.logged("service.started")
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 1
    assert program.records("resource.failed")[0]["resource"] == "hangs_when_closed"
    assert _parts(program)[-2:] == [("part.closed", "second"), ("part.closed", "first")]


async def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    program = await start("drains_for_ever", BEDPLATE_PROBE_STOP_S="300")
    await program.logged("service.started")
    program.send(signal.SIGTERM)
    first_at = time.monotonic()
    await program.logged("drain.begun")
    await eventually(lambda: time.monotonic() - first_at > 0.8, within_s=5)
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 1
    assert ("part.closed", "first") not in _parts(program)


async def test_one_request_that_arrives_twice_is_still_graceful(start: Start) -> None:
    """Ctrl-C reaches a child from the terminal and again from its parent."""
    program = await start("plain")
    await program.logged("service.started")
    program.send(signal.SIGINT)
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0


async def test_a_blocked_event_loop_does_not_outlive_the_limit(start: Start) -> None:
    program = await start("blocks", BEDPLATE_PROBE_STOP_S="1")
    await program.logged("loop.blocked")
    began = time.monotonic()
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 1
    assert time.monotonic() - began < 10
    assert program.records("service.hung")


async def test_a_thread_without_end_does_not_outlive_the_service(start: Start) -> None:
    program = await start("thread_hangs")
    await program.logged("service.started")
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0
    assert ("part.closed", "first") in _parts(program)


async def test_wrong_settings_are_told_all_at_once_without_a_traceback(start: Start) -> None:
    program = await start("plain", BEDPLATE_PROBE_SLOTS="0", BEDPLATE_STOP_S="soon")
    assert await program.exit_code() == 78
    await eventually(lambda: "BEDPLATE_STOP_S" in program.text, within_s=5)
    assert "BEDPLATE_PROBE_SLOTS is '0'" in program.text
    assert "at least 1, at most 64" in program.text
    assert "Traceback" not in program.text
    assert "pydantic" not in program.text


async def test_a_misspelt_variable_is_told(start: Start) -> None:
    program = await start("plain", BEDPLATE_PROBE_SLOT="8")
    record = await program.logged("setting.ignored")
    assert record["variable"] == "BEDPLATE_PROBE_SLOT"


@pytest.mark.parametrize(
    ("scenario", "text"), [("wrong", "NATS 2.9.10 is too old"), ("refused", "a later release")]
)
async def test_a_configuration_that_cannot_work_exits_with_78(
    start: Start, scenario: str, text: str
) -> None:
    program = await start(scenario)
    assert await program.exit_code() == 78
    await eventually(lambda: text in program.text, within_s=5)
    assert "Traceback" not in program.text
    assert _parts(program) == [("part.opened", "first"), ("part.closed", "first")]


async def test_a_server_that_stays_away_exits_with_69(
    start: Start, closed_door: socket.socket
) -> None:
    program = await start("needs_server", BEDPLATE_PROBE_NEEDED_PORT=_port(closed_door))
    assert await program.exit_code() == 69
    await eventually(lambda: "the depot cannot be reached" in program.text, within_s=5)
    assert "Traceback" not in program.text
    assert ("part.closed", "first") in _parts(program)


async def test_a_server_that_comes_late_is_waited_for(
    start: Start, closed_door: socket.socket
) -> None:
    program = await start("waits_for_server", BEDPLATE_PROBE_NEEDED_PORT=_port(closed_door))
    await program.logged("server.awaited")

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(accept, sock=closed_door):
        await program.logged("service.started")
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0


async def test_a_start_that_waits_can_be_stopped(start: Start, closed_door: socket.socket) -> None:
    program = await start("waits_for_server", BEDPLATE_PROBE_NEEDED_PORT=_port(closed_door))
    await program.logged("server.awaited")
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0
    assert _parts(program) == [("part.opened", "first"), ("part.closed", "first")]
    assert "service.started" not in program.events()


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ("broken", "KeyError"),
        ("work_ends", "nobody asked it to"),
        ("exits", "SystemExit"),
        ("loop_exits", "SystemExit"),
    ],
)
async def test_anything_unexpected_exits_with_1_and_its_traceback(
    start: Start, scenario: str, text: str
) -> None:
    program = await start(scenario)
    assert await program.exit_code() == 1
    failure = await program.logged("service.failed")
    assert failure["level"] == "error"
    assert text in failure["traceback"]


async def test_a_loop_that_fails_is_logged_once_and_ends_nothing(start: Start) -> None:
    program = await start("loop_fails")
    status, body = await program.get("/readyz")
    assert (status, "OSError: the server is away" in body) == (503, True)
    await program.logged("loop.failed")
    await program.get("/healthz")
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0
    assert len(program.records("loop.failed")) == 1


async def test_every_line_is_a_record_also_those_of_libraries(start: Start) -> None:
    program = await start("libraries_log", BEDPLATE_LOG_LEVEL="debug")
    await program.logged("tick.ended")
    program.send(signal.SIGTERM)
    assert await program.exit_code() == 0
    records = program.records()
    assert len(records) == len(program.lines)
    assert all({"at", "level", "event", "service", "pid"} <= record.keys() for record in records)
    (message,) = program.records("library.logged")
    assert (message["logger"], message["message"]) == ("my_agent", "users see this")
