"""What the three private servers share: a port, a process, a log, a way to start and to end."""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bedplate.devstack.data_directory import DataDirectory
from bedplate.devstack.errors import ServerFailed
from bedplate.devstack.ports import Ports, is_free
from bedplate.devstack.processes import Account, Inherited, Process, Processes

READY_S = 60.0
_STOP_S = 20.0
_LOG_LINES = 15


@dataclass(frozen=True)
class Command:
    argv: Sequence[str | Path | Inherited]
    env: Mapping[str, str]
    account: Account | None = None
    # Files and folders that the program opens by an `Inherited` argument.
    opened: Sequence[Path] = ()


class Server(ABC):
    name: ClassVar[str]
    # The signal that ends it quickly and without damage.
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, folder: DataDirectory, ports: Ports) -> None:
        self.folder = folder
        self._ports = ports
        self.port = ports.of(self.name)
        self.process: Process | None = None

    @property
    @abstractmethod
    def uri(self) -> str: ...

    @abstractmethod
    def command(self) -> Command:
        """What to execute now; writes the configuration, and waits for what `prepare` began."""

    @abstractmethod
    def is_ready(self, process: Process) -> bool:
        """Whether it serves; asked every few milliseconds, so it must not take long."""

    def prepare(self, processes: Processes) -> None:
        """Begin what takes long, without waiting for it."""
        del processes

    @property
    def log(self) -> Path:
        return self.folder.logs / f"{self.name}.log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    def launch(self, processes: Processes) -> None:
        self.process = self.spawn(processes, self.command())

    def spawn(self, processes: Processes, command: Command) -> Process:
        opened = [os.open(path, os.O_RDONLY) for path in command.opened]
        try:
            with self.log.open("ab") as output:
                return processes.spawn(
                    command.argv,
                    env=command.env,
                    cwd=Path("/"),
                    output=output.fileno(),
                    inherited=opened,
                    account=command.account,
                    stop_signal=self.stop_signal,
                )
        finally:
            for fd in opened:
                os.close(fd)

    def await_ready(self, processes: Processes) -> None:
        """Return when it serves. Raises `ServerFailed` with the end of its log."""
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            process = self.process
            if process is None or not process.is_running:
                if is_free(self.port):
                    break
                # Somebody took the port after we had found it free.
                self.port = self._ports.another(self.name)
                self.launch(processes)
            elif self.is_ready(process):
                return
            else:
                processes.wait_for_change(0.005)
        raise ServerFailed(
            f"{self.name} did not start; the end of {self.log}:\n{tail(self.log, _LOG_LINES)}"
        )

    def stop(self) -> None:
        if self.process is not None and self.process.is_running:
            self.process.stop(_STOP_S)


def tail(file: Path, lines: int) -> str:
    """The last lines of a log, or what is known when there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 200 * lines))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError as error:
        return f"({error})"
