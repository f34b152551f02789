"""The HTTP side: the two model endpoints, and the control endpoints that tests use.

    POST /v1/chat/completions, /v1/responses    answers by the script
    GET  /__stub__/requests     {"requests": [{seq, scenario, step, digest, outcome, …}]}, in order
    POST /__stub__/gates/NAME   {"open": false} closes a gate (all are open until closed)
    GET  /__stub__/gates        {name: {"open", "waiting"}}
    PUT  /__stub__/script       play another script from now on
    GET  /__stub__/health

`waiting` counts the answers held back at a gate; one whose client has died is counted until the
gate opens.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from . import wire
from .conversation import Conversation, from_chat, from_responses
from .script import Answer, BadScript, Script

REQUESTS_KEPT_MAX = 5000
BODY_BYTES_MAX = 32 * 1024 * 1024
GATE_WAIT_S_MAX = 120.0


class Gates:
    """Answers wait at closed gates. A gate nobody has closed is open."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed: set[str] = set()
        self._waiting: Counter[str] = Counter()

    def put(self, name: str, *, is_open: bool) -> None:
        with self._changed:
            (self._closed.discard if is_open else self._closed.add)(name)
            self._changed.notify_all()

    def pass_through(self, name: str) -> bool:
        """Wait until the gate is open. False when it stayed closed for `GATE_WAIT_S_MAX`."""
        with self._changed:
            self._waiting[name] += 1
            try:
                return self._changed.wait_for(lambda: name not in self._closed, GATE_WAIT_S_MAX)
            finally:
                self._waiting[name] -= 1

    def seen(self) -> dict[str, dict[str, Any]]:
        with self._changed:
            names = sorted(self._closed | set(self._waiting))
            return {
                name: {"open": name not in self._closed, "waiting": self._waiting[name]}
                for name in names
            }


class ScriptedServer:
    """Serves from a daemon thread, on loopback. `port` 0 takes a free one."""

    def __init__(self, script: dict[str, Any], *, port: int = 0) -> None:
        self.script = Script(script)
        self.gates = Gates()
        self._requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS_KEPT_MAX)
        self._seq = 0
        self._lock = threading.Lock()
        self._http = _HttpServer(port, self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, daemon=True, name="scripted-model"
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def requests(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._requests)

    def record(self, conversation: Conversation, answer: Answer) -> dict[str, Any]:
        """Log a request as it arrives; its outcome is filled in by whoever answers."""
        with self._lock:
            self._seq += 1
            entry: dict[str, Any] = {
                "seq": self._seq,
                "api": conversation.api,
                "model": conversation.model,
                "scenario": answer.scenario,
                "step": answer.step,
                "digest": conversation.digest,
                "user": conversation.user,
                "system": conversation.system,
                "tools": conversation.tools,
                "tool_calls": answer.tool_calls,
                "outcome": "started",
            }
            self._requests.append(entry)
            return entry

    def start(self) -> ScriptedServer:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> ScriptedServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, scripted: ScriptedServer) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.scripted = scripted


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def scripted(self) -> ScriptedServer:
        return cast(_HttpServer, self.server).scripted

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the request log is what a reader wants."""

    def do_GET(self) -> None:
        match self.path:
            case "/__stub__/health":
                names = [scenario.get("name") for scenario in self.scripted.script.scenarios]
                self._send(200, {"ok": True, "scenarios": names})
            case "/__stub__/requests":
                self._send(200, {"requests": self.scripted.requests})
            case "/__stub__/gates":
                self._send(200, self.scripted.gates.seen())
            case _:
                self._send(404, wire.error_body(404, f"no route GET {self.path}"))

    def do_PUT(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != "/__stub__/script":
            self._send(404, wire.error_body(404, f"no route PUT {self.path}"))
            return
        try:
            self.scripted.script = Script(body)
        except BadScript as error:
            self._send(400, wire.error_body(400, str(error)))
        else:
            self._send(200, {"ok": True})

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path.startswith("/__stub__/gates/"):
            name = self.path.rpartition("/")[2]
            self.scripted.gates.put(name, is_open=bool(body.get("open", True)))
            self._send(200, self.scripted.gates.seen())
        elif self.path == "/v1/chat/completions":
            self._complete(from_chat(body))
        elif self.path == "/v1/responses":
            self._complete(from_responses(body))
        else:
            self._send(404, wire.error_body(404, f"no route POST {self.path}"))

    def _complete(self, conversation: Conversation) -> None:
        answer = self.scripted.script.answer(conversation)
        entry = self.scripted.record(conversation, answer)
        gate = answer.options.get("wait_for")
        if gate and not self.scripted.gates.pass_through(gate):
            entry["outcome"] = "gate stayed closed"
            self._send(504, wire.error_body(504, f"gate {gate!r} stayed closed"))
            return
        time.sleep(float(answer.options.get("latency_ms", 0)) / 1000)
        if error := answer.options.get("error"):
            status = int(error.get("status", 500))
            entry["outcome"] = f"error {status}"
            self._send(status, wire.error_body(status, error.get("message", "scripted error")))
            return
        answer_id = f"{conversation.digest}{entry['seq']}"
        try:
            if conversation.is_streamed:
                self._stream(conversation, answer, answer_id)
            else:
                self._send(200, wire.whole(conversation, answer, answer_id))
            entry["outcome"] = "ok"
        except OSError:
            entry["outcome"] = "client gone"

    def _stream(self, conversation: Conversation, answer: Answer, answer_id: str) -> None:
        options = {"chunk_chars": 8, "chunk_delay_ms": 0}
        options |= self.scripted.script.settings | answer.options
        pause_s = float(options["chunk_delay_ms"]) / 1000
        self._head(200, "text/event-stream; charset=utf-8", {"transfer-encoding": "chunked"})
        events = wire.streamed(
            conversation, answer, answer_id, chunk_chars=int(options["chunk_chars"])
        )
        for name, data in events:
            text = data if isinstance(data, str) else json.dumps(data)
            self._chunk((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
            time.sleep(pause_s)
        self._chunk("")

    def _chunk(self, text: str) -> None:
        """One HTTP chunk, sent at once; the empty one ends the body."""
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _body(self) -> dict[str, Any] | None:
        """The request's JSON object; None when it is not one, which has then been answered."""
        size = int(self.headers.get("content-length") or 0)
        if size > BODY_BYTES_MAX:
            self._send(413, wire.error_body(413, f"the body exceeds {BODY_BYTES_MAX} bytes"))
            return None
        body: Any = None
        with contextlib.suppress(ValueError):
            body = json.loads(self.rfile.read(size) or b"{}")
        if not isinstance(body, dict):
            self._send(400, wire.error_body(400, "the body must be a JSON object"))
            return None
        return cast(dict[str, Any], body)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self._head(status, "application/json", {"content-length": str(len(data))})
        self.wfile.write(data)

    def _head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        # No kept connections: a client's pool would hand one to another event loop, or to a
        # worker's next run after this server has gone.
        self.close_connection = True
        for name, value in {"content-type": content_type, "connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
