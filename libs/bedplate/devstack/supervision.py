"""What dies by itself is brought back, what has to see changed files starts anew."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping

from bedplate.devstack.reloading import Reloading
from bedplate.devstack.servers import Servers
from bedplate.devstack.services import EXIT_CONFIGURATION, Replica

# How long a service may take to end when it is asked to.
STOP_S = 40.0
_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# A process that has run this long has recovered: the next restart is quick again.
_RECOVERED_S = 60.0


class Supervision:
    """Of the `replicas` and servers of one stack. `failure` tells why a replica has ended; `files`
    is None where changed files are nobody's business."""

    def __init__(
        self,
        replicas: Mapping[str, Replica],
        servers: Servers,
        files: Reloading | None,
        *,
        launch: Callable[[Replica], None],
        failure: Callable[[Replica], Exception],
        tell: Callable[[str], None],
    ) -> None:
        self._replicas = replicas
        self._servers = servers
        self._files = files
        self._launch = launch
        self._failure = failure
        self._tell = tell
        self._restarts: dict[str, tuple[int, float]] = {}
        # Those that wait for the project's files to be put right.
        self._refused: set[str] = set()

    def look(self) -> None:
        """Once. Raises what `failure` says of a service that refuses its configuration, unless it
        can wait for other files."""
        for service in self._files.due() if self._files is not None else ():
            self._start_anew(service)
        for replica in list(self._replicas.values()):
            if not replica.is_running:
                self._bring_back(replica)
        for name in self._servers.exited():
            if self._is_due(name, since=0.0):
                self._tell(f"{name} ended by itself and is started again")
                self._servers.start_one(name)

    def _start_anew(self, service: str) -> None:
        for replica in list(self._replicas.values()):
            if replica.kind.name == service and replica.process is not None:
                self._tell(f"{replica.name} starts anew: the project's files have changed")
                replica.process.stop(STOP_S)
                self._refused.discard(replica.name)
                self._launch(replica)

    def _bring_back(self, replica: Replica) -> None:
        code = replica.process.code if replica.process is not None else None
        if code == EXIT_CONFIGURATION:
            if self._files is None:
                raise self._failure(replica)
            if replica.name not in self._refused:
                self._refused.add(replica.name)
                why = self._failure(replica)
                self._tell(f"{replica.name} waits for the files to change again: {why}")
        elif self._is_due(replica.name, since=replica.started_at):
            self._tell(f"{replica.name} ended by itself ({ending(code)}) and is started again")
            self._launch(replica)

    def _is_due(self, name: str, *, since: float) -> bool:
        """Whether `name` may be restarted now; the waits grow while it keeps dying."""
        now = time.monotonic()
        count, due_at = self._restarts.get(name, (0, 0.0))
        if due_at == 0.0:
            count = 0 if since and now - since > _RECOVERED_S else count
            due_at = now + _BACKOFF_S[min(count, len(_BACKOFF_S) - 1)]
        is_due = now >= due_at
        self._restarts[name] = (count + 1, 0.0) if is_due else (count, due_at)
        return is_due


def ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
