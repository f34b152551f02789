"""Ports on the loopback: free ones, and the same ones again at the next start."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
# Below the ranges from which Linux (32768-) and macOS (49152-) take the local port of an outgoing
# connection. From inside such a range a client that retries while its server is down can be given
# the server's own port: it then connects to itself, and the server cannot come back.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


class Ports:
    """The ports of one data directory, remembered by name in `ports.json`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = _read(file)

    def of(self, name: str) -> int:
        """The port of `name`: the one from last time unless somebody has taken it since."""
        known = self._known.get(name)
        if known is not None and is_free(known):
            return known
        return self.another(name)

    def another(self, name: str) -> int:
        """A port for `name` that is free now and not promised to another name."""
        for _ in range(_TRIES):
            port = random.randint(_FIRST, _LAST)
            if port not in self._known.values() and is_free(port):
                self._known[name] = port
                self._file.write_text(json.dumps(self._known, indent=1) + "\n", "utf-8")
                return port
        raise OSError(f"no free port found between {_FIRST} and {_LAST}")


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: a connection of the last run in TIME_WAIT does not make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def next_free(port: int, host: str = HOST) -> int:
    """The first free port from `port` upwards. Raises `OSError` when the next hundred are taken."""
    for candidate in range(port, min(port + 100, 65_536)):
        if is_free(candidate, host):
            return candidate
    raise OSError(f"no free port found between {port} and {port + 99} on {host}")


def _read(file: Path) -> dict[str, int]:
    try:
        known = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {name: port for name, port in known.items() if isinstance(port, int)}
