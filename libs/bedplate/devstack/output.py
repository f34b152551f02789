"""What the services write: into their log files, and as it comes to whoever wants to see it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

# Lines longer than this are handed on in pieces.
_CHUNK_BYTES = 65_536


class Output:
    """Hands out the fds children write to. Without a listener that is the log file itself."""

    def __init__(self, listener: Callable[[str, str], None] | None) -> None:
        """`listener(name, line)` is called on a thread per child, one call at a time."""
        self._listener = listener
        self._speaking = threading.Lock()
        self._threads: list[threading.Thread] = []

    def open(self, name: str, log: Path) -> int:
        """An fd for one child; the caller closes it once the child has it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if self._listener is None:
            return os.open(log, flags, 0o600)
        reading, writing = os.pipe()
        thread = threading.Thread(
            target=self._pump, args=(name, reading, os.open(log, flags, 0o600)), daemon=True
        )
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()
        return writing

    def close(self, limit_s: float = 5.0) -> None:
        """Wait until what ended children wrote has been handed on."""
        for thread in self._threads:
            thread.join(limit_s)

    def _pump(self, name: str, reading: int, log: int) -> None:
        pending = b""
        try:
            while part := os.read(reading, _CHUNK_BYTES):
                os.write(log, part)
                *lines, pending = (pending + part).split(b"\n")
                if len(pending) > _CHUNK_BYTES:
                    lines.append(pending)
                    pending = b""
                self._speak(name, lines)
            self._speak(name, [pending] if pending else [])
        finally:
            os.close(reading)
            os.close(log)

    def _speak(self, name: str, lines: list[bytes]) -> None:
        assert self._listener is not None, "there is no thread without a listener"
        with self._speaking:
            for line in lines:
                self._listener(name, line.decode("utf-8", "replace"))
