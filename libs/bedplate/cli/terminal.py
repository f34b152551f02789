"""What `bedplate dev` shows: our sentences, and the services' lines as they come."""

from __future__ import annotations

import contextlib
import threading

import click


class Terminal:
    """Holds back what services write until `release`: a failed start shows its reason only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[str] | None = []

    def say(self, sentence: str) -> None:
        self._write(click.style("bedplate  ", fg="cyan") + sentence)

    def print(self, text: str) -> None:
        self._write(text)

    def show(self, _service: str, line: str) -> None:
        """One line of a service; it names the service itself."""
        with self._lock:
            if self._held is not None:
                self._held.append(line)
                return
        self._write(line)

    def release(self) -> None:
        """Show what was held back, and everything from now on."""
        with self._lock:
            held, self._held = self._held or [], None
        for line in held:
            self._write(line)

    def forget(self) -> None:
        with self._lock:
            if self._held is not None:
                self._held.clear()

    def _write(self, text: str) -> None:
        # A closed terminal or a pipe that ended must not keep us from stopping in order.
        with contextlib.suppress(OSError):
            click.echo(text)
