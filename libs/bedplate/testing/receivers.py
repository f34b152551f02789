"""A receiver of webhooks that works, fails, redirects and hangs, as a path asks for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bedplate.testing.eventually import eventually


@dataclass(frozen=True)
class Heard:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Does what a path asks for: `/ok`, `/fails?times=2`, `/says?status=404`, `/hangs`,
    `/redirects?to=…`."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list[Heard])
    released: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, int] = field(default_factory=dict[str, int])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, run: Any) -> list[Heard]:
        """What was said about a run, in order."""
        return [each for each in list(self.heard) if each.told["run_id"] == run["run_id"]]

    async def first_of(self, run: Any, *, at: str = "", within_s: float = 20) -> Heard:
        def found() -> list[Heard]:
            return [each for each in self.of(run) if each.path.startswith(at)]

        return (await eventually(found, within_s=within_s))[0]


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.heard.append(Heard(self.path, headers, body, time.time()))
            split = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(split.query).items()}
            with receiver.lock:
                receiver.counts[self.path] = receiver.counts.get(self.path, 0) + 1
                count = receiver.counts[self.path]
            match split.path:
                case "/fails":
                    self._say(503 if count <= int(query["times"]) else 200)
                case "/says":
                    self._say(int(query["status"]))
                case "/hangs":
                    receiver.released.wait(60)
                    self._say(200)
                case "/redirects":
                    self._say(307, Location=query["to"])
                case _:
                    self._say(200)

        def _say(self, status: int, **headers: str) -> None:
            try:
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
            except OSError:
                pass  # the dispatcher has left

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


@contextmanager
def receiving() -> Generator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()
    server = Server(("127.0.0.1", 0), _handler(receiver))
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        server.server_close()
