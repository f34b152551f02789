"""Print the events of runs as they happen, with plain `nats-py`.

    python subscribe.py --url nats://127.0.0.1:4222     what is stored, then what comes
    python subscribe.py --thread ID --until-end         one thread, until a run of it ends
    python subscribe.py --live                          only what comes from now on
    python subscribe.py --lifecycle                     also runs created and finished

Two ways to read the same events, each with its price:

* from the stream RUN_EVENTS, through an ordered consumer: begins with what is stored, notices what
  it missed and fetches it; the consumer costs the broker a little memory;
* `--live`, from the republished subject, as an ordinary NATS subscription: costs nothing and needs
  no JetStream, begins now, and can only say that it missed something.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError, ServiceUnavailableError

CONNECT_S_MAX = 5
LINE_BYTES_MAX = 64 * 1024 * 1024
PENDING_BYTES_MAX = 256 * 1024 * 1024


@dataclass
class Lines:
    """Puts the lines of one run's messages together again. A message holds one line or several; a
    long line goes on in the next message, which then has the header `Bedplate-Continues`."""

    begun: bytes = b""

    def of(self, payload: bytes, *, continues: bool) -> Iterator[dict[str, Any]]:
        """The events that end in this message. A line whose beginning was missed is left out."""
        if continues and not self.begun:
            _, _, payload = payload.partition(b"\n")
        text = self.begun + payload if continues else payload
        self.begun = b""
        *whole, rest = text.split(b"\n")
        for line in filter(None, whole):
            yield json.loads(line)
        if rest and len(rest) <= LINE_BYTES_MAX:
            try:
                event = json.loads(rest)  # a last line may come without its newline
            except ValueError:
                self.begun = rest
            else:
                yield event


@dataclass
class Printer:
    """Prints a line per event; `ended` is set once a run's last event has been seen."""

    is_json: bool
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: dict[str, Lines] = field(default_factory=dict[str, Lines])
    _last_seq: dict[str, int] = field(default_factory=dict[str, int])

    async def on_stored(self, message: Msg) -> None:
        self._events(message)

    async def on_live(self, message: Msg) -> None:
        """The broker says which message of this subject came before: not ours means a gap."""
        headers = message.headers or {}
        before, last = int(headers["Nats-Last-Sequence"]), self._last_seq.get(message.subject)
        if last is not None and before != last:
            print(f"{message.subject}: missed messages", file=sys.stderr, flush=True)
            self._lines.pop(message.subject, None)
        self._last_seq[message.subject] = int(headers["Nats-Sequence"])
        self._events(message)

    async def on_fact(self, message: Msg) -> None:
        """A CloudEvent: what happened is in `type`, to what is in `data`."""
        fact = json.loads(message.data)
        if self.is_json:
            print(json.dumps(fact, ensure_ascii=False), flush=True)
        else:
            print(f"* {fact['type']} {compact(fact['data'])}", flush=True)

    def _events(self, message: Msg) -> None:
        thread_id, run_id = message.subject.split(".")[-2:]
        continues = (message.headers or {}).get("Bedplate-Continues") == "1"
        lines = self._lines.setdefault(message.subject, Lines())
        for event in lines.of(message.data, continues=continues):
            if self.is_json:
                whose = {"thread_id": thread_id, "run_id": run_id, **event}
                print(json.dumps(whose, ensure_ascii=False), flush=True)
            else:
                where = f"{thread_id[:8]} {run_id[:8]} {event['n']:>5}"
                print(f"{where} {event['event']}: {compact(event['data'])}", flush=True)
            if event["event"] == "end":
                self._lines.pop(message.subject, None)
                self._last_seq.pop(message.subject, None)
                self.ended.set()


def compact(data: Any, *, chars_max: int = 160) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


async def subscribe(client: Client, given: argparse.Namespace, printer: Printer) -> None:
    """Raises `NotFoundError` without the streams, `ServiceUnavailableError` without JetStream."""
    root = f"{given.prefix}.v1"
    whose = f"{given.tenant}.{given.thread}.{given.run}"
    if given.live:
        await client.subscribe(
            f"{root}.live.{whose}", cb=printer.on_live, pending_bytes_limit=PENDING_BYTES_MAX
        )
    else:
        await client.jetstream().subscribe(
            f"{root}.ev.{whose}",
            stream="RUN_EVENTS",
            cb=printer.on_stored,
            ordered_consumer=True,
            pending_bytes_limit=PENDING_BYTES_MAX,
        )
    if given.lifecycle:
        await client.jetstream().subscribe(
            f"{root}.lc.{given.tenant}.run.*",
            stream="LIFECYCLE",
            cb=printer.on_fact,
            ordered_consumer=True,
        )
    await client.flush(CONNECT_S_MAX)
    print("subscribed", file=sys.stderr, flush=True)


async def connected(url: str) -> Client:
    async def told(error: Exception) -> None:
        print(f"nats: {error or type(error).__name__}", file=sys.stderr, flush=True)

    # -1: the default gives up after two minutes, and the program would stay and print nothing.
    return await nats.connect(url, name="nats-subscriber", max_reconnect_attempts=-1, error_cb=told)


async def main(given: argparse.Namespace) -> None:
    printer = Printer(is_json=given.json)
    try:
        # Without this limit the first connection, too, would be retried for ever.
        client = await asyncio.wait_for(connected(given.url), CONNECT_S_MAX)
    except (OSError, TimeoutError):
        raise SystemExit(f"no NATS server at {given.url}; `bedplate dev` prints its url") from None
    try:
        await subscribe(client, given, printer)
        if given.until_end:
            await printer.ended.wait()
        else:
            await asyncio.Event().wait()  # until Ctrl-C
    except (NotFoundError, ServiceUnavailableError):
        raise SystemExit(f"{given.url} has no stream RUN_EVENTS; is it Bedplate's?") from None
    finally:
        await client.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print the events of runs as they happen.")
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    parser.add_argument("--url", default=url, help="NATS_URL, or nats://127.0.0.1:4222")
    parser.add_argument("--thread", default="*", metavar="ID", help="only this thread")
    parser.add_argument("--run", default="*", metavar="ID", help="only this run")
    parser.add_argument("--live", action="store_true", help="only what comes from now on")
    parser.add_argument("--lifecycle", action="store_true", help="also runs created and finished")
    parser.add_argument("--until-end", action="store_true", help="stop after the end of a run")
    parser.add_argument("--json", action="store_true", help="whole events, one JSON object a line")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--prefix", default="bedplate", help="the first token of all subjects")
    return parser.parse_args()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments()))
