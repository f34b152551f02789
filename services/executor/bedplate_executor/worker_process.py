"""One worker process as the keeper sees it: started, given runs, asked, watched, and sooner or
later gone."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
import structlog

from bedplate.bus.refusals import error_from
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import Claimed

from .link import Link

log = structlog.get_logger()

_PR_SET_PDEATHSIG = 1


class Held:
    """A run in a worker: its attempt number, since when, and whether it may be what kills
    workers."""

    def __init__(self, claimed: Claimed, *, at: float, is_suspect: bool) -> None:
        self.claimed = claimed
        self.started_at = at
        self.is_suspect = is_suspect


class WorkerProcess:
    """Create with `start`, then `load` the project at once, or `warm` it and `load` later."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        link: Link,
        pulse: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.process = process
        self.pid = process.pid
        self._link = link
        # The writer is never written to; without it the stream would be closed.
        self._pulse, self._pulse_end = pulse
        self.held: dict[UUID, Held] = {}
        self.graphs: list[dict[str, Any]] = []
        self.libraries: list[str] = []
        """The modules that the project brought along from outside itself, in order of import."""
        self.is_warm = False
        self.is_gone = False
        self.is_retiring = False
        """Given nothing new; ends when its runs are over (reload) or handed on (shutdown)."""
        self.lag_s = 0.0
        self.stall: dict[str, Any] | None = None
        self.heard_at = asyncio.get_running_loop().time()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.unloadable: str | None = None
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._last_ask = 0

    @classmethod
    async def start(cls) -> WorkerProcess:
        link_ours, link_theirs = socket.socketpair()
        pulse_ours, pulse_theirs = socket.socketpair()
        with link_theirs, pulse_theirs:
            fds = (link_theirs.fileno(), pulse_theirs.fileno())
            # Not asyncio's: the death signal has to be set between fork and exec.
            process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "bedplate_executor.worker", str(fds[0]), str(fds[1])],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                preexec_fn=_dying_with(os.getpid()) if sys.platform == "linux" else None,
            )
        pulse_ours.setblocking(False)
        pulse = await asyncio.open_connection(sock=pulse_ours)
        return cls(process, await Link.over(link_ours), pulse)

    @property
    def is_open(self) -> bool:
        """Takes new runs."""
        return self.ready.done() and not self.is_retiring and not self.is_gone

    def warm(self, libraries: list[str]) -> None:
        """Import what the project will need, and wait."""
        self._link.send({"do": "warm", "libraries": libraries})

    def load(self) -> None:
        """Import the project and become ready for runs."""
        self._link.send({"do": "load"})

    def give(self, claimed: Claimed, *, is_suspect: bool) -> None:
        now = asyncio.get_running_loop().time()
        self.held[claimed.run_id] = Held(claimed, at=now, is_suspect=is_suspect)
        self._link.send({"do": "start", "claimed": claimed})

    def stop(self, run_id: UUID, why: str) -> None:
        self._link.send({"do": "stop", "run_id": str(run_id), "why": why})

    def drain(self, reason: str) -> None:
        self._link.send({"do": "drain", "reason": reason})

    def kill(self) -> None:
        """At once; what it held is handed on when it is gone."""
        self.process.kill()

    def close(self) -> None:
        """Let it end by itself: it does when the link closes."""
        self._link.close()

    async def ask(self, verb: str, body: bytes, *, limit_s: float) -> bytes:
        """Put a question. Raises what answering raised; `Unavailable` when no answer comes."""
        self._last_ask += 1
        number = self._last_ask
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._link.send({"do": "ask", "id": number, "verb": verb}, body)
        try:
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError as error:
            raise Unavailable(f"no worker answered {verb} in {limit_s:g} s") from error
        finally:
            del self._asked[number]

    async def listen(
        self,
        closed: Callable[[WorkerProcess, UUID, int, str], None],
        left_behind: Callable[[WorkerProcess, UUID], None],
    ) -> int:
        """Hear it out until it is gone; its exit code (negative: the signal)."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._hear_pulse())
            while (frame := await self._link.receive()) is not None:
                self._heard(*frame, closed=closed, left_behind=left_behind)
            self.is_gone = True
            watch.cancel()
        self._link.close()
        self._pulse_end.close()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Unavailable("the worker died while it was asked"))
        code = await asyncio.to_thread(self.process.wait)
        if not self.ready.done():
            self.ready.set_exception(Unavailable(f"the worker ended with code {code} at start"))
            self.ready.exception()  # whoever does not wait for it need not be told twice
        return code

    def _heard(
        self,
        head: dict[str, Any],
        body: bytes,
        *,
        closed: Callable[[WorkerProcess, UUID, int, str], None],
        left_behind: Callable[[WorkerProcess, UUID], None],
    ) -> None:
        match head["is"]:
            case "ready":
                self.graphs, self.libraries = head["graphs"], head["libraries"]
                self.heard_at = asyncio.get_running_loop().time()
                self.ready.set_result(None)
            case "warm":
                self.is_warm = True
            case "unloadable":
                self.unloadable = head["why"]
            case "closed":
                closed(self, UUID(head["run_id"]), head["attempt"], head["how"])
            case "left_behind":
                left_behind(self, UUID(head["run_id"]))
            case "answer":
                answer = self._asked.get(head["id"])
                if answer is not None and not answer.done():
                    if kind := head.get("error"):
                        answer.set_exception(error_from(kind, body))
                    else:
                        answer.set_result(body)
            case unknown:
                raise AssertionError(f"a worker speaks of {unknown!r}")

    async def _hear_pulse(self) -> None:
        while line := await self._pulse.readline():
            report = orjson.loads(line)
            self.heard_at = asyncio.get_running_loop().time()
            self.lag_s = report["lag_s"]
            self.stall = report if "stack" in report else None


def _dying_with(parent: int) -> Callable[[], None]:
    """For the child, between fork and exec: end when the keeper does, however that happens.

    The kernel takes the end of the *thread* that forked for the parent's: it is the main one.
    """
    prctl = ctypes.CDLL(None).prctl

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal
