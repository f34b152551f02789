"""A private Valkey (or Redis) without persistence: it holds only what may be lost."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from bedplate.devstack.data_directory import DataDirectory, write_private
from bedplate.devstack.ports import HOST, Ports
from bedplate.devstack.processes import Process
from bedplate.devstack.server import Command, Server

_CONFIG = """\
# Written by bedplate at every start.
bind {host}
port {port}
requirepass {password}
save ""
appendonly no
# Its housekeeping, ten times a second by default, is most of what an idle one costs.
hz 1
maxmemory 128mb
maxmemory-policy allkeys-lru
"""


class Valkey(Server):
    name = "valkey"

    def __init__(self, folder: DataDirectory, ports: Ports, *, program: Path) -> None:
        super().__init__(folder, ports)
        self._program = program
        self._password = folder.password()

    @property
    def uri(self) -> str:
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    def command(self) -> Command:
        home = self.folder.path / "valkey"
        home.mkdir(mode=0o700, exist_ok=True)
        config = home / "valkey.conf"
        write_private(config, _CONFIG.format(host=HOST, port=self.port, password=self._password))
        # The folder of its dumps goes without quoting rules in the file, so it is given as an
        # argument.
        return Command([self._program, config, "--dir", home], dict(os.environ))

    def is_ready(self, process: Process) -> bool:
        del process
        try:
            return is_answering(HOST, self.port, limit_s=0.5)
        except OSError:
            return False


def is_answering(host: str, port: int, *, limit_s: float) -> bool:
    """Whether a Redis or Valkey answers there; "log in first" is an answer. Raises `OSError`."""
    with socket.create_connection((host, port), limit_s) as connection:
        connection.settimeout(limit_s)
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
