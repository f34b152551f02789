"""What a request to stop means now: a closed terminal and a polite kill mean what Ctrl-C means."""

from __future__ import annotations

import signal
from collections.abc import Callable


class Signals:
    """At first a request raises `KeyboardInterrupt`, once; then it does what `then` was given.

    Raising is right only while something is tried that can be abandoned. Later an exception could
    come anywhere, also between the two halves of a question to the guard.
    """

    def __init__(self) -> None:
        self._obey: Callable[[], object] = self._interrupt
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A hang-up that is ignored already stays ignored: that is what nohup is for.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda *_: self._obey())

    def then(self, obey: Callable[[], object]) -> None:
        """From now on a request calls `obey`, in the main thread, between any two of its steps."""
        self._obey = obey

    def _interrupt(self) -> None:
        self._obey = lambda: None
        raise KeyboardInterrupt
