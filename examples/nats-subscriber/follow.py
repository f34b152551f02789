"""Follow one run from any event on to its end: what is stored, then what comes, without a hole.

    python follow.py THREAD_ID RUN_ID                   the whole run, whenever it began
    python follow.py THREAD_ID RUN_ID --after 12        the events after number 12

It leaves nothing in the broker: no consumer, no state. Stored messages are read by *direct get*,
new ones come over an ordinary subscription to the republished subject. Each of those says which
message of its subject came before it (`Nats-Last-Sequence`): if that is the last one we have, none
is missing; else the stored ones are read again. So it survives missed messages and restarts of the
broker, and every event is printed once, in order, as one JSON object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError
from subscribe import CONNECT_S_MAX, Lines, connected

STREAM = "RUN_EVENTS"
# Look at the stream this often though nothing came: the very last message may be the missed one.
LOOK_S = 5.0
RETRY_S = 0.2
WAITING_MAX = 1000


class Run:
    """The messages of one run, each once and in order."""

    def __init__(self, client: Client, *, prefix: str, whose: str) -> None:
        self._client = client
        self._stored = f"{prefix}.v1.ev.{whose}"
        self._live = f"{prefix}.v1.live.{whose}"
        # A reader that is slow must not grow: what does not fit is read from the stream later.
        self._waiting: asyncio.Queue[Msg] = asyncio.Queue(WAITING_MAX)
        self._last = 0

    async def messages(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Payload, and whether it goes on with the line before; for ever."""
        await self._client.subscribe(self._live, cb=self._heard)
        while True:
            async for message in self._read_stored():
                yield message
            with contextlib.suppress(TimeoutError):
                while True:
                    heard = await asyncio.wait_for(self._waiting.get(), LOOK_S)
                    headers = heard.headers or {}
                    sequence = int(headers["Nats-Sequence"])
                    if sequence <= self._last:
                        continue
                    if int(headers["Nats-Last-Sequence"]) != self._last:
                        break
                    self._last = sequence
                    yield heard.data, "Bedplate-Continues" in headers

    async def _heard(self, message: Msg) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(message)

    async def _read_stored(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Everything after the last message we have, one by one; waits for a broker that is
        away."""
        stream = self._client.jetstream()
        while True:
            try:
                found = await stream.get_msg(
                    STREAM, seq=self._last + 1, subject=self._stored, next=True, direct=True
                )
            except NotFoundError:
                return
            except (nats.errors.Error, OSError, TimeoutError):
                await asyncio.sleep(RETRY_S)
                continue
            assert found.seq is not None
            self._last = found.seq
            yield found.data or b"", "Bedplate-Continues" in (found.headers or {})


async def follow(client: Client, given: argparse.Namespace) -> None:
    lines, after = Lines(), given.after
    whose = f"{given.tenant}.{given.thread}.{given.run}"
    async for payload, continues in Run(client, prefix=given.prefix, whose=whose).messages():
        for event in lines.of(payload, continues=continues):
            # The number decides: a new attempt goes on counting, it never counts again.
            is_end = event["event"] == "end"
            if event["n"] > after or is_end:
                after = max(after, event["n"])
                show(event)
            if is_end:
                return


def show(event: dict[str, Any]) -> None:
    print(json.dumps(event, ensure_ascii=False), flush=True)


async def main(given: argparse.Namespace) -> None:
    try:
        client = await asyncio.wait_for(connected(given.url), CONNECT_S_MAX)
    except (OSError, TimeoutError):
        raise SystemExit(f"no NATS server at {given.url}; `bedplate dev` prints its url") from None
    try:
        await follow(client, given)
    finally:
        await client.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print the events of one run, up to its end.")
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    parser.add_argument("thread", metavar="THREAD_ID")
    parser.add_argument("run", metavar="RUN_ID")
    parser.add_argument("--after", type=int, default=0, metavar="N", help="only events after N")
    parser.add_argument("--url", default=url, help="NATS_URL, or nats://127.0.0.1:4222")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--prefix", default="bedplate", help="the first token of all subjects")
    return parser.parse_args()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments()))
