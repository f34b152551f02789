"""The subscriber example against a real broker with the streams of the contract."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import RePublish, StreamConfig

from bedplate_proto.streams import LIFECYCLE, RUN_EVENTS, Stream

SUBSCRIBE = Path(__file__).parents[3] / "examples" / "nats-subscriber" / "subscribe.py"
ROOT = "bedplate.v1"
WAIT_S_MAX = 20


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncGenerator[Client]:
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("nats-server"),
        *("-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(tmp_path)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            client = await nats.connect(f"nats://127.0.0.1:{port}", max_reconnect_attempts=-1)
        for stream in (RUN_EVENTS, LIFECYCLE):
            await client.jetstream().add_stream(declared(stream))
        yield client
        await client.close()
    finally:
        server.terminate()
        await server.wait()


def declared(stream: Stream) -> StreamConfig:
    republish = None
    if stream.republish:
        source, destination = (f"{ROOT}.{subject}" for subject in stream.republish)
        republish = RePublish(src=source, dest=destination)
    subjects = [f"{ROOT}.{subject}" for subject in stream.subjects]
    return StreamConfig(name=stream.name, subjects=subjects, republish=republish)


class Run:
    """Publishes as an executor does: one event a line, long lines over several messages."""

    def __init__(self, broker: Client) -> None:
        self.thread_id, self.run_id = str(uuid4()), str(uuid4())
        self._subject = f"{ROOT}.ev.default.{self.thread_id}.{self.run_id}"
        self._js = broker.jetstream()

    async def publish(self, payload: bytes, *, continues: bool = False) -> None:
        headers = {"Bedplate-Continues": "1"} if continues else None
        await self._js.publish(self._subject, payload, headers=headers)

    async def happens(self) -> list[dict[str, Any]]:
        """A whole run: two events in a message, one over three messages, and the end."""
        said = {"values": "é" * 300}
        events: list[dict[str, Any]] = [
            {"n": 1, "attempt": 1, "event": "metadata", "data": {"run_id": self.run_id}},
            {"n": 2, "attempt": 1, "event": "updates", "data": {"a": 1}},
            {"n": 3, "attempt": 1, "event": "values", "data": said},
            {"n": 4, "attempt": 1, "event": "updates", "data": {"b": 2}},
            {"n": 5, "attempt": 1, "event": "end", "data": {"status": "success"}},
        ]
        one, two, three, four, end = (
            json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events
        )
        await self.publish(one + two)
        await self.publish(three[:101])
        await self.publish(three[101:400], continues=True)
        await self.publish(three[400:] + four, continues=True)
        await self.publish(end.removesuffix(b"\n"))
        return events

    def told(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"thread_id": self.thread_id, "run_id": self.run_id, **one} for one in events]


@asynccontextmanager
async def subscriber(broker: Client, *options: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The example, subscribed; ended with the block."""
    assert broker.connected_url is not None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SUBSCRIBE, "--url", broker.connected_url.geturl(), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(WAIT_S_MAX):
            assert (await process.stderr.readline()).strip() == b"subscribed"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def rest_of(process: asyncio.subprocess.Process) -> list[str]:
    """What it prints until it ends of itself."""
    async with asyncio.timeout(WAIT_S_MAX):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().splitlines()


@pytest.mark.parametrize("is_live", [False, True], ids=["from the stream", "live"])
async def test_a_run_is_printed_as_it_happens(broker: Client, is_live: bool) -> None:
    run = Run(broker)
    options = ["--json", "--until-end", *(["--live"] if is_live else [])]
    async with subscriber(broker, *options) as process:
        events = await run.happens()
        printed = [json.loads(line) for line in await rest_of(process)]
    assert printed == run.told(events)


async def test_a_run_that_is_over_is_replayed(broker: Client) -> None:
    other, run = Run(broker), Run(broker)
    await other.happens()
    events = await run.happens()
    options = ("--thread", run.thread_id, "--json", "--until-end")
    async with subscriber(broker, *options) as process:
        printed = [json.loads(line) for line in await rest_of(process)]
    assert printed == run.told(events)


async def test_a_line_whose_beginning_was_missed_is_left_out(broker: Client) -> None:
    run = Run(broker)
    async with subscriber(broker, "--live", "--until-end") as process:
        await run.publish(
            b' of a line"}}\n{"n":8,"attempt":1,"event":"a","data":1}', continues=True
        )
        await run.publish(b'{"n":9,"attempt":1,"event":"end","data":{"status":"error"}}\n')
        printed = await rest_of(process)
    begun = f"{run.thread_id[:8]} {run.run_id[:8]}"
    assert printed == [f"{begun}     8 a: 1", f'{begun}     9 end: {{"status":"error"}}']


async def test_runs_created_and_finished_are_printed_as_facts(broker: Client) -> None:
    run = Run(broker)
    fact = {"specversion": "1.0", "type": "dev.bedplate.run.created.v1", "data": {"run_id": "r"}}
    subject = f"{ROOT}.lc.default.run.created"
    await broker.jetstream().publish(subject, json.dumps(fact).encode())
    async with subscriber(broker, "--lifecycle") as process:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S_MAX):
            line = await process.stdout.readline()
            assert line.decode().strip() == '* dev.bedplate.run.created.v1 {"run_id":"r"}'
            await run.happens()
            assert b"metadata" in await process.stdout.readline()


async def complaint_of(url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SUBSCRIBE, "--url", url), stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(WAIT_S_MAX):
        _, complaint = await process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in complaint.decode()
    return complaint.decode()


async def test_without_a_broker_it_says_so_and_ends() -> None:
    assert "no NATS server" in await complaint_of(f"nats://127.0.0.1:{free_port()}")


async def test_without_the_stream_it_says_so_and_ends(broker: Client) -> None:
    await broker.jetstream().delete_stream("RUN_EVENTS")
    assert broker.connected_url is not None
    assert "no stream RUN_EVENTS" in await complaint_of(broker.connected_url.geturl())
