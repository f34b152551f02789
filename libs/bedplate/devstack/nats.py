"""A private nats-server with JetStream: loopback, a password, streams in `nats/`."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

from bedplate.devstack.data_directory import DataDirectory, write_private
from bedplate.devstack.errors import ServerTooOld
from bedplate.devstack.ports import HOST, Ports
from bedplate.devstack.processes import Process
from bedplate.devstack.programs import NATS_OLDEST
from bedplate.devstack.server import Command, Server

USER = "bedplate"
_INFO_BYTES_MAX = 65_536
_CONFIG = """\
# Written by bedplate at every start.
server_name: bedplate-dev
listen: "{host}:{port}"
max_payload: 8MB
authorization {{ user: {user}, password: "{password}" }}
jetstream {{ store_dir: {store}, max_memory_store: 256MB, max_file_store: 20GB }}
{features}
"""
# With this flag on, acknowledgement subjects have a form on which nats-py's ordered consumers
# fail. Servers before 2.14 do not know the block, and have the old form only.
_FEATURES = "feature_flags { js_ack_fc_v2: false }"
_FEATURES_SINCE = (2, 14)


class Nats(Server):
    name = "nats"

    def __init__(
        self, folder: DataDirectory, ports: Ports, *, program: Path, version: str | None
    ) -> None:
        super().__init__(folder, ports)
        if version is not None:
            refuse_too_old(version, str(program))
        self._program = program
        self._has_features = version_of(version or "0") >= _FEATURES_SINCE
        self._home = folder.path / "nats"
        self._password = folder.password()

    @property
    def uri(self) -> str:
        return f"nats://{USER}:{self._password}@{HOST}:{self.port}"

    def command(self) -> Command:
        self._home.mkdir(mode=0o700, exist_ok=True)
        config = self._home / "nats.conf"
        text = _CONFIG.format(
            host=HOST,
            port=self.port,
            user=USER,
            password=self._password,
            store=json.dumps(str(self._home / "streams")),
            features=_FEATURES if self._has_features else "",
        )
        write_private(config, text)
        return Command([self._program, "-c", config], dict(os.environ))

    def is_ready(self, process: Process) -> bool:
        del process
        try:
            return bool(read_info(HOST, self.port, limit_s=0.5).get("jetstream"))
        except (OSError, ValueError):
            return False

    def wipe(self) -> None:
        """Forget every stream, as if the disk were lost. Only while it does not run."""
        assert not self.is_running, "a running server would write its streams again"
        shutil.rmtree(self._home / "streams", ignore_errors=True)


def read_info(host: str, port: int, *, limit_s: float) -> dict[str, Any]:
    """What a NATS server says of itself first. Raises `OSError`; `ValueError`: it is none."""
    with socket.create_connection((host, port), limit_s) as connection:
        connection.settimeout(limit_s)
        line = b""
        while not line.endswith(b"\n") and len(line) < _INFO_BYTES_MAX:
            part = connection.recv(4096)
            if not part:
                break
            line += part
    if not line.startswith(b"INFO "):
        raise ValueError(f"{host}:{port} does not greet as a NATS server")
    greeting: dict[str, Any] = json.loads(line.partition(b"\r\n")[0][5:])
    return greeting


def refuse_too_old(version: str, where: str) -> None:
    """Raises `ServerTooOld` below NATS 2.12, the first with everything our streams use."""
    if version_of(version) < NATS_OLDEST:
        oldest = ".".join(map(str, NATS_OLDEST))
        raise ServerTooOld(
            f"NATS {version} at {where} is too old: {oldest} or newer is needed", version=version
        )


def version_of(text: str) -> tuple[int, ...]:
    return tuple(
        int(part) for part in text.lstrip("v").partition("-")[0].split(".") if part.isdigit()
    )
