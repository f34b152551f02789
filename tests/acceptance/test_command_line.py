"""The command line as a stranger meets it: help, exit codes, errors that say what to do."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bedplate.devstack.guard import descendants
from bedplate.devstack.processes import is_alive
from bedplate.devstack.programs import find_postgres
from bedplate.devstack.servers import Servers

_BEDPLATE = Path(sysconfig.get_path("scripts")) / "bedplate"
_COMMANDS = ("dev", "serve", "migrate", "contracts", "doctor", "version")
_GRAPH = """
from typing import Annotated, TypedDict
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages


class State(TypedDict):
    messages: Annotated[list, add_messages]


def answer(state: State) -> State:
    return {"messages": [("ai", f"You said: {state['messages'][-1].content}")]}


graph = StateGraph(State).add_node("answer", answer).add_edge(START, "answer")
"""


def _environment(**added: str) -> dict[str, str]:
    given = {"DATABASE_URI", "POSTGRES_URI", "NATS_URL", "REDIS_URI"}
    return {key: value for key, value in os.environ.items() if key not in given} | added


def _bedplate(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the real command to its end, without a terminal."""
    return subprocess.run(
        [_BEDPLATE, *arguments],
        cwd=cwd,
        env=_environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "echo.py").write_text(_GRAPH)
    _configure(folder, {"dependencies": ["."], "graphs": {"echo": "./echo.py:graph"}})
    return folder


def _configure(folder: Path, document: object) -> None:
    (folder / "langgraph.json").write_text(json.dumps(document))


def _refuses(
    answer: subprocess.CompletedProcess[str], *, code: int, saying: str
) -> subprocess.CompletedProcess[str]:
    assert answer.returncode == code, answer.stderr + answer.stdout
    assert re.search(saying, answer.stderr, re.DOTALL), answer.stderr
    assert "bedplate/cli" not in answer.stderr, "no traceback of ours"
    return answer


# Help and versions


def test_help_names_every_command_and_exit_code(tmp_path: Path) -> None:
    answer = _bedplate("--help", cwd=tmp_path)
    assert answer.returncode == 0
    for word in (*_COMMANDS, "Exit codes", "69", "78"):
        assert word in answer.stdout
    assert "..." not in answer.stdout.partition("Commands:")[2], "no summary is cut off"


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_explains_itself(tmp_path: Path, command: str) -> None:
    answer = _bedplate(command, "--help", cwd=tmp_path)
    assert answer.returncode == 0
    assert "Usage: bedplate" in answer.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["deploy"],
        ["dev", "--port", "many"],
        ["dev", "--port", "70000"],
        ["serve", "tracer"],
        ["serve"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_how_it_goes(tmp_path: Path, arguments: list[str]) -> None:
    answer = _bedplate(*arguments, cwd=tmp_path)
    assert answer.returncode == 2
    assert "Usage:" in answer.stderr


def test_version_names_what_runs(tmp_path: Path) -> None:
    answer = _bedplate("version", cwd=tmp_path)
    assert answer.returncode == 0
    assert re.search(r"^bedplate \d+\.\d+", answer.stdout)
    assert "langgraph " in answer.stdout


# What `dev` refuses


def test_dev_without_a_project_says_what_to_do(tmp_path: Path) -> None:
    _refuses(_bedplate("dev", cwd=tmp_path), code=78, saying=r"no langgraph\.json in .*--config")


def test_dev_with_a_missing_file_names_it(tmp_path: Path) -> None:
    answer = _bedplate("dev", "--config", "elsewhere.json", cwd=tmp_path)
    _refuses(answer, code=78, saying=r"elsewhere\.json")


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("{", r"not valid JSON.*line 1"),
        ("[]", r"JSON object"),
        ("{}", r"'graphs'"),
        ('{"graphs": {"a": "agent.py"}}', r"'graphs\.a'"),
        ('{"graphs": {"a": "./agent.py:graph"}}', r"graphs\.a.*agent\.py"),
        ('{"graphs": {"a": "m:g"}, "env": 7}', r"'env'"),
    ],
)
def test_dev_with_a_bad_configuration_names_the_key(tmp_path: Path, text: str, saying: str) -> None:
    (tmp_path / "langgraph.json").write_text(text)
    _refuses(_bedplate("dev", cwd=tmp_path), code=78, saying=saying)
    assert not (tmp_path / ".bedplate").exists(), "nothing was started for it"


def test_dev_on_a_port_that_is_taken_says_so(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = _bedplate("dev", "--port", port, cwd=project)
    _refuses(answer, code=1, saying=rf"port {port} on 127\.0\.0\.1 is taken.*--port")


def test_dev_in_a_data_directory_in_use_names_the_process(project: Path) -> None:
    with Servers(project / ".bedplate", env=_environment()):
        answer = _bedplate("dev", cwd=project)
    _refuses(answer, code=1, saying=rf"in use by process {os.getpid()}.*--data-dir")


def test_dev_on_a_database_of_another_major_version_says_so(project: Path) -> None:
    other = find_postgres().major - 1
    database = project / ".bedplate" / f"pg{other}"
    database.mkdir(parents=True)
    (database / "PG_VERSION").write_text(f"{other}\n")
    _refuses(_bedplate("dev", cwd=project), code=1, saying=rf"written by PostgreSQL {other}")


def test_dev_with_a_server_that_is_too_old_says_so(project: Path) -> None:
    with _greeting(version="2.9.10") as url:
        answer = _bedplate("dev", cwd=project, NATS_URL=url)
    _refuses(answer, code=69, saying=r"NATS 2\.9\.10 .*too old: 2\.12 or newer")


def test_dev_with_a_server_that_does_not_answer_names_it_without_its_password(
    project: Path,
) -> None:
    uri = "postgresql://me:secret@127.0.0.1:1/app"
    answer = _bedplate("dev", cwd=project, DATABASE_URI=uri)
    _refuses(answer, code=69, saying=r"DATABASE_URI.*127\.0\.0\.1:1/app")
    assert "secret" not in answer.stderr + answer.stdout


def test_dev_shows_the_users_own_traceback_when_their_graph_does_not_import(project: Path) -> None:
    (project / "echo.py").write_text("import nothing_of_this_name\n")
    answer = _bedplate("dev", "--no-reload", cwd=project)
    _refuses(answer, code=78, saying=r"echo\.py.*line 1.*nothing_of_this_name")
    assert "bedplate_executor/" not in answer.stderr, "no frames of ours"


# migrate and doctor


def test_migrate_without_servers_is_wrong_usage(tmp_path: Path) -> None:
    answer = _bedplate("migrate", cwd=tmp_path)
    assert answer.returncode == 2
    assert "DATABASE_URI" in answer.stderr


def test_migrate_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    with Servers(tmp_path / "data", env=_environment()) as servers:
        given = {
            "DATABASE_URI": servers.endpoints.database_uri,
            "NATS_URL": servers.endpoints.nats_url,
        }
        before = _bedplate("doctor", cwd=tmp_path, **given)
        assert before.returncode == 1
        assert re.search(r"wrong +tables.*bedplate migrate", before.stdout)
        first = _bedplate("migrate", cwd=tmp_path, **given)
        assert first.returncode == 0, first.stderr
        assert "applied ledger/0001" in first.stdout
        second = _bedplate("migrate", cwd=tmp_path, **given)
        assert "no migration was pending" in second.stdout
        after = _bedplate("doctor", cwd=tmp_path, **given)
        assert after.returncode == 0, after.stdout


def test_doctor_finds_everything_in_order(project: Path) -> None:
    answer = _bedplate("doctor", cwd=project)
    assert answer.returncode == 0, answer.stdout
    for part in ("python", "packages", "postgres", "nats", "valkey", "project", "port", "data"):
        assert re.search(rf"^(ok|note) +{part} ", answer.stdout, re.MULTILINE), answer.stdout


def test_doctor_says_what_is_wrong_and_looks_at_the_rest(project: Path) -> None:
    _configure(project, {"graphs": {"echo": "./missing.py:graph"}})
    with _greeting(version="2.11.0") as url:
        answer = _bedplate("doctor", cwd=project, NATS_URL=url)
    assert answer.returncode == 1
    assert re.search(r"^wrong +nats .*2\.11\.0.*too old", answer.stdout, re.MULTILINE)
    assert re.search(r"^wrong +project .*graphs\.echo", answer.stdout, re.MULTILINE)
    assert re.search(r"^ok +postgres", answer.stdout, re.MULTILINE)


# dev at work


class _Dev:
    """A `bedplate dev` with its output, in a session of its own as a terminal gives it."""

    def __init__(self, project: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [_BEDPLATE, "dev", *arguments],
            cwd=project,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.text = ""

    def read_until(self, pattern: str, limit_s: float = 60) -> re.Match[str]:
        """Return the match once the output has one; fail with the output if it never does."""
        assert self.process.stdout is not None
        until = time.monotonic() + limit_s
        while (match := re.search(pattern, self.text)) is None:
            left_s = until - time.monotonic()
            ready = select.select([self.process.stdout], [], [], max(0.0, left_s))[0]
            part = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            assert part, f"no {pattern!r} in:\n{self.text}"
            self.text += part.decode("utf-8", "replace")
        return match

    def family(self) -> list[int]:
        return descendants(self.process.pid)

    def end(self, number: int = signal.SIGINT, limit_s: float = 60) -> int:
        """Signal it as the terminal does, read to the end, return its exit code."""
        os.killpg(self.process.pid, number)
        rest, _ = self.process.communicate(timeout=limit_s)
        self.text += rest.decode("utf-8", "replace")
        return self.process.returncode


@contextmanager
def _dev(project: Path, *arguments: str) -> Iterator[_Dev]:
    dev = _Dev(project, *arguments)
    try:
        yield dev
    finally:
        if dev.process.poll() is None:
            dev.end(signal.SIGKILL)


def test_dev_serves_and_its_snippets_work_when_pasted(project: Path) -> None:
    with _dev(project) as dev:
        dev.read_until("Stop with Ctrl-C")
        url = dev.read_until(r"API +(http://\S+)")[1]
        with urllib.request.urlopen(f"{url}/ok", timeout=10) as answer:
            assert json.load(answer)["ok"] is True
        curl = dev.read_until(r"\n(curl .*)\n")[1]
        told = subprocess.run(["/bin/sh", "-c", curl], capture_output=True, text=True, timeout=60)
        assert json.loads(told.stdout)["messages"][-1]["content"].startswith("You said: Hello"), (
            told
        )
        snippet = dev.read_until(r"(?s)\n(from langgraph_sdk .*?)\n\nStop")[1]
        told = subprocess.run(
            [sys.executable, "-c", snippet], capture_output=True, text=True, timeout=60
        )
        assert "You said: Hello" in told.stdout, told.stderr
        family = dev.family()
        assert len(family) > 6
        assert dev.end() == 0
        assert "stopping" in dev.text and "threads and runs are kept in" in dev.text
        assert "Traceback" not in dev.text
        assert [pid for pid in family if is_alive(pid)] == []


def test_dev_killed_hard_leaves_no_process_and_starts_again(project: Path) -> None:
    with _dev(project) as dev:
        dev.read_until("Stop with Ctrl-C")
        family = dev.family()
        assert len(family) > 6
        os.kill(dev.process.pid, signal.SIGKILL)
        dev.process.communicate(timeout=10)
        # The lock of the data directory is free when the last of them is gone; `dev` waits for it.
        with _dev(project) as again:
            again.read_until("Stop with Ctrl-C")
            assert [pid for pid in family if is_alive(pid)] == []
            assert again.end() == 0


def test_two_devs_run_side_by_side(project: Path, tmp_path: Path) -> None:
    with _dev(project, "--data-dir", str(tmp_path / "a")) as first:
        first.read_until("Stop with Ctrl-C")
        with _dev(project, "--data-dir", str(tmp_path / "b")) as second:
            second.read_until("Stop with Ctrl-C")
            urls = {dev.read_until(r"API +(http://\S+)")[1] for dev in (first, second)}
            assert len(urls) == 2
            assert re.search(r"port 2024 is taken, so this is on \d+", second.text)
            for url in urls:
                with urllib.request.urlopen(f"{url}/ok", timeout=10) as answer:
                    assert answer.status == 200
            assert second.end(signal.SIGTERM) == 0
        assert first.end() == 0


def test_a_second_ctrl_c_hurries(project: Path) -> None:
    with _dev(project) as dev:
        dev.read_until("Stop with Ctrl-C")
        family = dev.family()
        os.killpg(dev.process.pid, signal.SIGINT)
        dev.read_until("Ctrl-C again")
        assert dev.end() == 0
        assert [pid for pid in family if is_alive(pid)] == []


@contextmanager
def _greeting(version: str) -> Iterator[str]:
    """The URL of something that greets as a NATS server of that version does."""
    info = json.dumps({"version": version, "jetstream": True}).encode()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"INFO " + info + b"\r\n")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield f"nats://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
