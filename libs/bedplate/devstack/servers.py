"""Private PostgreSQL, NATS and Valkey from Python wheels; or the servers the environment names.

    servers = Servers(Path(".bedplate"))
    endpoints = servers.start()        # 2 s the first time, 0.2 s later
    servers.stop()                     # the data stays; the next start finds it, on the same ports

Promised: one user per data directory, nothing left running when this process ends in whatever way,
nothing listens beyond the loopback, and nobody without the password of the data directory gets in.
Everything here is synchronous and bounded; from an event loop use `asyncio.to_thread`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from bedplate.devstack.data_directory import DataDirectory, write_private
from bedplate.devstack.errors import ServerUnreachable
from bedplate.devstack.nats import Nats
from bedplate.devstack.ports import Ports
from bedplate.devstack.postgres import Postgres
from bedplate.devstack.processes import Process, Processes
from bedplate.devstack.programs import find_nats, find_postgres, find_valkey, program_version
from bedplate.devstack.server import Server
from bedplate.devstack.valkey import Valkey

# Under which names a server is given, the first that is set counts.
GIVEN = {
    "postgres": ("DATABASE_URI", "POSTGRES_URI", "POSTGRES_URI_CUSTOM"),
    "nats": ("NATS_URL",),
    "valkey": ("REDIS_URI", "REDIS_URI_CUSTOM"),
}


@dataclass(frozen=True)
class Endpoints:
    """Where the three servers are, passwords included."""

    database_uri: str
    nats_url: str
    redis_uri: str | None


class Servers:
    def __init__(
        self,
        data_dir: Path,
        *,
        env: Mapping[str, str] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`tell` gets a sentence when something works, but not as one might expect."""
        self.folder = DataDirectory(data_dir)
        self._env = os.environ if env is None else env
        self._tell = tell or (lambda _: None)
        self._own: dict[str, Server] = {}
        self._processes: Processes | None = None
        self._endpoints: Endpoints | None = None

    def __enter__(self) -> Servers:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Endpoints:
        """Start what is not given; return when it serves. A failure leaves nothing running."""
        self.folder.open()
        try:
            self._processes = Processes(log=self.folder.logs / "guard.log", hold=[self.folder.lock])
            return self._start(self._processes)
        except BaseException:
            self.abandon()
            raise

    def stop(self) -> None:
        """End the servers, NATS and Valkey first. Idempotent; the data stays."""
        try:
            for server in reversed(self._own.values()):
                server.stop()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End everything at once by letting go of the guard: 3 s to stop, then SIGKILL.

        Asks nothing of anybody, so it works after an interruption in the middle of a question.
        """
        if self._processes is not None:
            self._processes.close()
        self._processes = None
        self._own.clear()
        self.folder.close()

    @property
    def endpoints(self) -> Endpoints:
        assert self._endpoints is not None, "the servers were started"
        return self._endpoints

    @property
    def processes(self) -> Processes:
        """The guarded children; the services of a stack are started through the same guard."""
        assert self._processes is not None, "the servers were started"
        return self._processes

    @property
    def ports(self) -> Ports:
        return Ports(self.folder.path / "ports.json")

    @property
    def pids(self) -> dict[str, list[int]]:
        """Per server of ours its process and everything below it."""
        return {
            name: process.family()
            for name, server in self._own.items()
            if (process := server.process) is not None
        }

    def kill(self, name: str) -> None:
        """`kill -9`; returns when every process of the server is gone."""
        self._process(name).kill()

    def pause(self, name: str) -> None:
        """Stop it in its tracks (SIGSTOP, all of it): connections stay open and nothing answers."""
        self._process(name).send(signal.SIGSTOP, tree=True)

    def resume(self, name: str) -> None:
        self._process(name).send(signal.SIGCONT, tree=True)

    def start_one(self, name: str) -> None:
        """Start a server that was killed, on its port and with its data; returns when it serves."""
        server = self._own[name]
        assert not server.is_running, f"{name} is not running"
        server.launch(self.processes)
        server.await_ready(self.processes)

    def restart(self, name: str, *, hard: bool = False) -> None:
        """Stop (`hard`: kill -9) and start on the same port."""
        if hard:
            self.kill(name)
        else:
            self._own[name].stop()
        self.start_one(name)

    def wipe_nats(self) -> None:
        """NATS dies, loses its disk, and comes back empty on the same port."""
        nats = self._own["nats"]
        assert isinstance(nats, Nats)
        self.kill("nats")
        nats.wipe()
        self.start_one("nats")

    def exited(self) -> list[str]:
        """The servers of ours that do not run any more."""
        return [name for name, server in self._own.items() if not server.is_running]

    def _start(self, processes: Processes) -> Endpoints:
        given = {name: self._given(name) for name in GIVEN}
        ports = self.ports
        if given["postgres"] is None:
            self._own["postgres"] = Postgres(self.folder, ports, programs=find_postgres())
            self._own["postgres"].prepare(processes)
        # While initdb works, the others start.
        if given["nats"] is None:
            program = find_nats()
            self._own["nats"] = Nats(
                self.folder, ports, program=program, version=program_version(program)
            )
            self._own["nats"].launch(processes)
        if given["valkey"] is None:
            if (valkey := find_valkey()) is None:
                self._tell(
                    "no Valkey or Redis was found: going on without (rate limits are per process)"
                )
            else:
                self._own["valkey"] = Valkey(self.folder, ports, program=valkey)
                self._own["valkey"].launch(processes)
        self._check(given)
        if "postgres" in self._own:
            self._own["postgres"].launch(processes)
        for server in self._own.values():
            server.await_ready(processes)
        self._endpoints = Endpoints(
            database_uri=given["postgres"] or self._own["postgres"].uri,
            nats_url=given["nats"] or self._own["nats"].uri,
            redis_uri=given["valkey"]
            or (self._own["valkey"].uri if "valkey" in self._own else None),
        )
        # For other programs of the same user, such as a subscriber to the events.
        write_private(
            self.folder.path / "endpoints.json",
            json.dumps(asdict(self._endpoints), indent=1) + "\n",
        )
        return self._endpoints

    def _check(self, given: Mapping[str, str | None]) -> None:
        if not any(given.values()):
            return
        # Imported late: it needs the database driver, which private servers do not.
        from bedplate.devstack.given import check_nats, check_postgres, check_redis

        if given["postgres"] is not None:
            check_postgres(given["postgres"])
        if given["nats"] is not None:
            check_nats(given["nats"])
        if given["valkey"] is not None:
            try:
                check_redis(given["valkey"])
            except ServerUnreachable as error:
                self._tell(f"{error.message} (going on: everything works without, only slower)")

    def _given(self, name: str) -> str | None:
        return next((self._env[key] for key in GIVEN[name] if self._env.get(key)), None)

    def _process(self, name: str) -> Process:
        process = self._own[name].process
        assert process is not None, f"{name} was started"
        return process
