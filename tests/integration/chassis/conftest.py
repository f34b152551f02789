from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bedplate.testing.eventually import eventually

# Generous, because the machine may be busy; a test ends as soon as the fact is there.
PATIENCE_S = 20.0


class Program:
    """A running `program.py`, its log records and its exit code."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def records(self, event: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [record for record in found if event in (None, record["event"])]

    def events(self) -> list[str]:
        return [record["event"] for record in self.records()]

    async def logged(self, event: str) -> dict[str, Any]:
        try:
            return (await eventually(lambda: self.records(event), within_s=PATIENCE_S))[0]
        except AssertionError as error:
            raise AssertionError(f"{event} was not logged, but:\n{self.text}") from error

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        port = (await self.logged("ops.opened"))["port"]
        return await request(port, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")


async def request(port: int, text: str) -> tuple[int, str]:
    """Status and body of the answer to a raw HTTP request."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text.encode())
        answer = (await reader.read()).decode()
        writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start("plain", BEDPLATE_PROBE_STOP_S="2")`; what still runs at the end is killed."""
    async with AsyncExitStack() as stack:

        async def one(scenario: str, **environ: str) -> Program:
            return await stack.enter_async_context(_running(scenario, environ))

        yield one


@asynccontextmanager
async def _running(scenario: str, environ: dict[str, str]) -> AsyncIterator[Program]:
    inherited = {key: value for key, value in os.environ.items() if "BEDPLATE" not in key}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("program.py")),
        scenario,
        env={**inherited, "BEDPLATE_LOG_FORMAT": "json", **environ},
        stderr=asyncio.subprocess.PIPE,
    )
    program = Program(process)
    async with asyncio.TaskGroup() as group:
        group.create_task(program.read())
        try:
            yield program
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
def raw_request() -> Callable[..., Any]:
    return request


@pytest.fixture
def closed_door() -> Iterator[socket.socket]:
    """A port that refuses connections and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held
