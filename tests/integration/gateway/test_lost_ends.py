"""A run is over, but nobody told: the truth is in PostgreSQL, and the client gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from bedplate.testing.eventually import eventually
from bedplate_gateway.stream import CutOff, Flow
from bedplate_proto.subjects import RunAddress

Parts = Any


async def _read(flow: Flow) -> bytes:
    """Everything a client gets."""
    try:
        return b"".join([chunk async for chunk in flow.chunks])
    finally:
        await flow.close()


async def _watched(parts: Parts, reading: asyncio.Task[bytes]) -> bytes:
    """Let the watch look until the client has its answer."""

    async def ticked() -> bool:
        await parts.followings.watch()
        return reading.done()

    await eventually(ticked, within_s=10, every_s=0.1)
    return await reading


async def _joined(parts: Parts, address: RunAddress) -> asyncio.Task[bytes]:
    found = await parts.runs.find(address.run_id, thread_id=address.thread_id)
    return asyncio.ensure_future(_read(await parts.streams.join(found, is_cancelled=False)))


async def test_a_waiter_gets_the_values_of_the_row(parts: Parts) -> None:
    address = await parts.running()
    reading = await _joined(parts, address)
    await parts.over(address.run_id, status="success", values='{"v": 1}', error=None)
    assert orjson.loads(await _watched(parts, reading)) == {"v": 1}
    assert parts.followings.count == 0


async def test_a_waiter_gets_the_error_of_the_row(parts: Parts) -> None:
    address = await parts.running()
    reading = await _joined(parts, address)
    error = '{"error": "WorkerLost", "message": "exceeded"}'
    await parts.over(address.run_id, status="error", values=None, error=error)
    assert orjson.loads(await _watched(parts, reading)) == {"__error__": orjson.loads(error)}


async def test_a_waiter_on_a_thread_that_is_deleted_gets_nothing(parts: Parts) -> None:
    address = await parts.running()
    reading = await _joined(parts, address)
    await parts.pool.execute("DELETE FROM threads WHERE thread_id = $1", address.thread_id)
    assert orjson.loads(await _watched(parts, reading)) == {}


async def test_a_stream_ends_with_the_error_of_the_row(parts: Parts) -> None:
    address = await parts.running(resumable=True)
    found = await parts.runs.find(address.run_id, thread_id=None)
    flow = await parts.streams.rejoin(found, modes=None, last_event_id="-1", is_cancelled=False)
    reading = asyncio.ensure_future(_read(flow))
    await parts.over(address.run_id, status="error", values=None, error='{"error": "X"}')
    text = await _watched(parts, reading)
    assert b'event: error\r\ndata: {"error": "X"}\r\n' in text


async def test_a_run_under_way_is_left_alone_however_often_one_looks(parts: Parts) -> None:
    address = await parts.running()
    reading = await _joined(parts, address)
    for _ in range(4):
        await parts.followings.watch()
    assert not reading.done()
    reading.cancel()
    await asyncio.wait([reading])


async def test_silence_is_filled_and_the_wait_goes_on(parts: Parts) -> None:
    address = await parts.running()
    found = await parts.runs.find(address.run_id, thread_id=None)
    flow = await parts.streams.join(found, is_cancelled=False)
    assert [await anext(flow.chunks) for _ in range(3)] == [b"\n"] * 3
    await flow.close()


async def _stream(parts: Parts, address: RunAddress) -> Flow:
    found = await parts.runs.find(address.run_id, thread_id=None)
    return await parts.streams.rejoin(found, modes=None, last_event_id=None, is_cancelled=False)


async def _wait(parts: Parts, address: RunAddress) -> Flow:
    found = await parts.runs.find(address.run_id, thread_id=None)
    return await parts.streams.join(found, is_cancelled=False)


@pytest.mark.parametrize("open_flow", [_stream, _wait])
async def test_a_stop_cuts_streams_and_half_answers(
    parts: Parts, open_flow: Callable[..., Awaitable[Flow]]
) -> None:
    address = await parts.running()
    flow = await open_flow(parts, address)
    reading = asyncio.ensure_future(_read(flow))
    await asyncio.sleep(0)
    parts.followings.close()
    with pytest.raises(CutOff):
        await reading
    # Also of whoever comes after that.
    with pytest.raises(CutOff):
        await _read(await _stream(parts, await parts.running()))
