"""The stack around services: started, watched, killed, brought back; with small services here."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bedplate.devstack.errors import ConfigurationRefused, ServiceFailed
from bedplate.devstack.processes import is_alive
from bedplate.devstack.services import Kind
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

# Answers its ops port, has a child in a session of its own as an executor has workers, and ends as
# the file `ending` says.
_SERVICE = """
import http.server, json, os, subprocess, sys
from pathlib import Path

folder = Path(os.environ["ECHO_FOLDER"])
port = int(os.environ["BEDPLATE_ECHO_OPS_PORT"])
ending = folder / "ending"
if ending.exists():
    code, text = json.loads(ending.read_text())
    print('{"event": "service.starting"}', flush=True)
    print(text, file=sys.stderr, flush=True)
    sys.exit(code)
sleeper = [sys.executable, "-c", "input()"]
child = subprocess.Popen(sleeper, stdin=subprocess.PIPE, start_new_session=True)
(folder / f"{port}.json").write_text(json.dumps(dict(os.environ)))


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""
_ECHO = Kind("echo", "echo_service", has_clients=True)
_HOLDER = """
import json, os, sys
from pathlib import Path
from bedplate.devstack.services import Kind
from bedplate.devstack.stack import Stack
folder = Path(sys.argv[1])
stack = Stack(
    folder / "data", services=[Kind("echo", "echo_service", has_clients=True)],
    env={"PYTHONPATH": str(folder), "ECHO_FOLDER": str(folder)},
)
stack.start()
servers = [pid for family in stack.servers.pids.values() for pid in family]
print(json.dumps([stack.servers.processes.guard_pid, *stack.pids("echo"), *servers]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "echo_service.py").write_text(_SERVICE)
    return tmp_path


def _stack(folder: Path, told: list[str] | None = None, **settings: object) -> Stack:
    return Stack(
        folder / "data",
        services=[_ECHO],
        env={"PYTHONPATH": str(folder), "ECHO_FOLDER": str(folder)},
        tell=None if told is None else told.append,
        **settings,  # type: ignore[arg-type]
    )


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    with _stack(folder) as running:
        yield running


def test_a_service_is_told_where_everything_is(stack: Stack, folder: Path) -> None:
    ops_port = stack.ops_url("echo").rpartition(":")[2]
    told = json.loads((folder / f"{ops_port}.json").read_text())
    assert told["DATABASE_URI"] == stack.endpoints.database_uri
    assert told["NATS_URL"] == stack.endpoints.nats_url
    assert told["REDIS_URI"] == stack.endpoints.redis_uri
    assert (
        stack.url_of("echo") == f"http://{told['BEDPLATE_ECHO_HOST']}:{told['BEDPLATE_ECHO_PORT']}"
    )
    assert told["BEDPLATE_EXECUTOR_WORKERS"] == "1"
    assert told["BEDPLATE_EXECUTOR_RELOAD"] == "0"
    assert told["BEDPLATE_LOG_FORMAT"] == "json"
    with urllib.request.urlopen(f"{stack.ops_url('echo')}/readyz", timeout=5) as answer:
        assert answer.status == 200
    assert stack.ready_in_s > 0


def test_a_killed_service_takes_its_children_along_and_comes_back_on_its_ports(
    stack: Stack,
) -> None:
    url, ops_url = stack.url_of("echo"), stack.ops_url("echo")
    family = stack.pids("echo")
    assert len(family) == 2, "the service and its child"
    assert stack.kill("echo") == family
    assert not any(is_alive(pid) for pid in family)
    stack.start_service("echo")
    assert (stack.url_of("echo"), stack.ops_url("echo")) == (url, ops_url)
    assert not set(stack.pids("echo")) & set(family)


def test_a_second_replica_has_ports_and_a_log_of_its_own(stack: Stack) -> None:
    stack.start_service("echo", replica=2, env={"ECHO_EXTRA": "yes"})
    assert stack.services() == ["echo", "echo-2"]
    assert stack.url_of("echo", replica=2) != stack.url_of("echo")
    assert stack.logs("echo", replica=2).name == "echo-2.log"
    stack.kill("echo")
    assert len(stack.pids("echo", replica=2)) == 2


def test_a_project_that_is_refused_is_shown_and_nothing_stays(folder: Path) -> None:
    (folder / "ending").write_text(json.dumps([78, "graphs.desk: no such file\n  line two"]))
    stack = _stack(folder)
    with pytest.raises(ConfigurationRefused) as refused:
        stack.start()
    assert refused.value.message == "graphs.desk: no such file\n  line two"
    (folder / "ending").unlink()
    with _stack(folder) as again:
        assert again.pids("echo")


def test_a_service_that_dies_at_start_is_named_with_its_log(folder: Path) -> None:
    (folder / "ending").write_text(json.dumps([3, "the reason"]))
    with pytest.raises(ServiceFailed, match=r"(?s)echo ended .*exit code 3.*the reason"):
        _stack(folder).start()


async def test_what_dies_by_itself_is_brought_back_until_the_project_is_refused(
    folder: Path,
) -> None:
    told: list[str] = []
    refusals: list[str] = []
    async with _stack(folder, told) as stack:

        def supervise() -> None:
            try:
                stack.supervise(threading.Event())
            except ConfigurationRefused as refused:
                refusals.append(refused.message)

        watching = threading.Thread(target=supervise)
        watching.start()
        first = stack.pids("echo")
        os.kill(first[0], 9)
        # Its child may outlive it for a moment: other pids alone do not say that it is back.
        await eventually(
            lambda: any("echo ended by itself (signal SIGKILL)" in sentence for sentence in told),
            within_s=15,
        )
        await eventually(lambda: len(set(stack.pids("echo")) - set(first)) == 2, within_s=15)
        database = stack.servers.pids["postgres"]
        os.kill(database[0], 9)
        await eventually(lambda: stack.servers.pids["postgres"] not in ([], database), within_s=15)
        (folder / "ending").write_text(json.dumps([78, "SyntaxError in agent.py"]))
        os.kill(stack.pids("echo")[0], 9)
        await asyncio.to_thread(watching.join, 30)
    assert refusals == ["SyntaxError in agent.py"]


def test_lines_of_a_service_reach_the_listener_and_the_log(folder: Path) -> None:
    (folder / "ending").write_text(json.dumps([78, "Grüße"]))
    seen: list[tuple[str, str]] = []
    stack = _stack(folder, on_output=lambda name, line: seen.append((name, line)))
    with pytest.raises(ConfigurationRefused):
        stack.start()
    assert ("echo", "Grüße") in seen
    assert "Grüße" in stack.logs("echo").read_text("utf-8")


async def test_killing_the_caller_with_9_leaves_no_descendant(folder: Path) -> None:
    holder = subprocess.Popen(  # noqa: ASYNC220 - it must outlive this loop's tasks
        [sys.executable, "-c", _HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    everything = json.loads(await asyncio.to_thread(holder.stdout.readline))
    assert len(everything) > 5 and all(is_alive(pid) for pid in everything)
    holder.kill()
    holder.communicate(timeout=10)
    await eventually(lambda: [pid for pid in everything if is_alive(pid)], equals=[], within_s=10)
