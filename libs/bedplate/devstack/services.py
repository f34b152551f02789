"""The services as child processes: which there are, what they are told, when they are ready."""

from __future__ import annotations

import http.client
import json
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.devstack.ports import HOST
from bedplate.devstack.processes import Process, Processes

if TYPE_CHECKING:
    from bedplate.chassis.settings import Settings

# How a service says "what I was given cannot work": EX_CONFIG of sysexits.h.
EXIT_CONFIGURATION = 78
_TOLD_BYTES_MAX = 32_768
_PRETTY_RECORD = re.compile(r"\d\d:\d\d:\d\d\.\d{3} (debug|info|warning|error|critical) ")


@dataclass(frozen=True)
class Kind:
    """A service that can be deployed. `has_clients`: it has a port besides its ops port."""

    name: str
    module: str
    has_clients: bool = False

    @property
    def prefix(self) -> str:
        return f"BEDPLATE_{self.name.upper().replace('-', '_')}"


# In the order in which they are started; they are stopped in reverse.
SERVICES = (
    Kind("gateway", "bedplate_gateway", has_clients=True),
    Kind("run-scheduler", "bedplate_run_scheduler"),
    Kind("executor", "bedplate_executor"),
    Kind("webhook-dispatcher", "bedplate_webhook_dispatcher"),
)


def settings_of(kind: Kind) -> type[Settings]:
    """The model of what an operator may set for this service."""
    return import_module(f"{kind.module}.settings").Settings


def settings_among(env: Mapping[str, str], kinds: Sequence[Kind] = SERVICES) -> dict[str, str]:
    """Those variables of a project's `env` that are settings of the services: they have to stand in
    the environment before a service starts."""
    from bedplate.chassis.settings import variables

    known = {
        name
        for kind in kinds
        for variable in variables(settings_of(kind))
        for name in variable.names
    }
    return {name: value for name, value in env.items() if name in known}


@dataclass
class Replica:
    """One process of a service, over all its restarts: same ports, same log."""

    kind: Kind
    number: int
    env: Mapping[str, str]
    ops_port: int
    port: int | None
    host: str
    log: Path
    # The path below which its API is.
    prefix: str = ""
    process: Process | None = None
    started_at: float = 0.0
    # Where in the log its present process began to write.
    log_offset: int = 0

    @property
    def name(self) -> str:
        return replica_name(self.kind.name, self.number)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    @property
    def url(self) -> str:
        host = {"0.0.0.0": HOST, "::": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}{self.prefix}"

    def launch(self, processes: Processes, *, cwd: Path, output: int) -> None:
        self.log_offset = self.log.stat().st_size if self.log.exists() else 0
        self.started_at = time.monotonic()
        self.process = processes.spawn(
            # -P: a file of the user's project must not stand in for a module of ours or of Python.
            [sys.executable, "-P", "-m", self.kind.module],
            env=self.env,
            cwd=cwd,
            output=output,
            stop_signal=signal.SIGTERM,
        )

    def waiting_for(self) -> str | None:
        """What it still waits for, in words; `None` when it is ready."""
        connection = http.client.HTTPConnection(HOST, self.ops_port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            body = answer.read(8192).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return f"no answer on its ops port {self.ops_port} ({error})"
        finally:
            connection.close()
        return None if answer.status == 200 else body or f"HTTP {answer.status}"

    def told(self) -> str:
        """What the present or last process wrote, its end if that is long."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, 2)
                log.seek(max(self.log_offset, size - _TOLD_BYTES_MAX))
                return log.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def complaint(self) -> str:
        """What it told a person before it ended: its plain text, without log records."""
        return "\n".join(line for line in self.told().splitlines() if not _is_record(line)).strip()


def replica_name(service: str, number: int) -> str:
    return service if number == 1 else f"{service}-{number}"


def _is_record(line: str) -> bool:
    """Whether a line is one of the log's, in either of its forms."""
    if not line.startswith("{"):
        return _PRETTY_RECORD.match(line) is not None
    try:
        return "event" in json.loads(line)
    except ValueError:
        return False
