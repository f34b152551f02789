"""Child processes that cannot be left behind: the caller's end of `guard.py`."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bedplate.devstack import guard
from bedplate.kernel.errors import BedplateError

# The guard forks and answers in milliseconds; a machine that swaps may need seconds.
_ANSWER_S = 30.0


class ProcessRefused(BedplateError):
    """The operating system would not start this program."""


class GuardLost(BedplateError):
    """The process that guards the servers and services is gone."""


@dataclass(frozen=True)
class Account:
    """The user a child runs as."""

    user: int
    group: int
    name: str


@dataclass(frozen=True)
class Inherited:
    """An argument: the `index`-th inherited fd as a path, in the numbering of the child."""

    index: int

    @property
    def text(self) -> str:
        return f"/proc/self/fd/{{fds[{self.index}]}}"


class Processes:
    """Starts children through one guard, from any thread. When this process dies, they all end.

    `hold` are file descriptors that the guard keeps open until the last child is gone: the lock of
    the data directory, so that nobody starts on it while a killed stack is still ending.
    """

    def __init__(self, *, log: Path, hold: Sequence[int] = ()) -> None:
        ours, theirs = socket.socketpair()
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno(), *hold],
                start_new_session=True,
            )
        theirs.close()
        self._socket = ours
        self._asking = threading.Lock()
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._codes: dict[int, int] = {}
        self._lost = False
        self._reader = threading.Thread(target=self._read, name="guard-reader", daemon=True)
        self._reader.start()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def guard_pid(self) -> int:
        return self._guard.pid

    def spawn(
        self,
        argv: Sequence[str | Path | Inherited],
        *,
        env: Mapping[str, str],
        cwd: Path,
        output: int,
        inherited: Sequence[int] = (),
        account: Account | None = None,
        stop_signal: int = signal.SIGTERM,
    ) -> Process:
        """Start a program in a session of its own; stdout and stderr go to the fd `output`.

        `stop_signal` is what asks it to end if this process is gone. Raises `ProcessRefused`,
        `GuardLost`.
        """
        request = {
            "do": "spawn",
            "argv": [
                part.text if isinstance(part, Inherited) else _literally(str(part)) for part in argv
            ],
            "env": dict(env),
            "cwd": str(cwd),
            "account": None if account is None else [account.user, account.group],
            "stop_signal": int(stop_signal),
        }
        answer = self._ask(request, fds=[output, *inherited])
        if "refused" in answer:
            raise ProcessRefused(answer["refused"])
        return Process(self, pid=answer["spawned"], stop_signal=stop_signal)

    def send(self, pid: int, number: int, *, tree: bool) -> list[int]:
        """Signal a child (`tree`: and all below it); the pids reached, none if it has ended."""
        request = {"do": "signal", "pid": pid, "signal": int(number), "tree": tree}
        reached: list[int] = self._ask(request)["signalled"]
        return reached

    def code(self, pid: int) -> int | None:
        """How a child ended (negative: by that signal), `None` while it runs."""
        if self._lost:
            raise GuardLost
        return self._codes.get(pid)

    def wait_for_change(self, limit_s: float) -> None:
        """Until a child ends or `limit_s` is over, whichever comes first."""
        with self._changed:
            self._changed.wait(limit_s)

    def wait(self, pid: int, limit_s: float) -> int | None:
        until = time.monotonic() + limit_s
        with self._changed:
            while (code := self.code(pid)) is None:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
        return code

    def close(self) -> None:
        """Let the guard end what still runs, and wait for it. Idempotent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._guard.wait(guard.END_S + 10)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait(5)
        self._reader.join(5)
        self._socket.close()

    def _ask(self, request: dict[str, Any], *, fds: Sequence[int] = ()) -> dict[str, Any]:
        body = json.dumps(request).encode()
        with self._asking:
            if self._lost:
                raise GuardLost
            try:
                head = len(body).to_bytes(4, "big")
                if fds:
                    socket.send_fds(self._socket, [head], fds)
                else:
                    self._socket.sendall(head)
                self._socket.sendall(body)
                answer = self._answers.get(timeout=_ANSWER_S)
            except (OSError, queue.Empty) as error:
                raise GuardLost from error
        if answer is None:
            raise GuardLost
        return answer

    def _read(self) -> None:
        stream = self._socket.makefile("rb")
        try:
            while head := stream.read(4):
                frame: dict[str, Any] = json.loads(stream.read(int.from_bytes(head, "big")))
                if "exited" in frame:
                    with self._changed:
                        self._codes[frame["exited"]] = frame["code"]
                        self._changed.notify_all()
                    continue
                # Frames come in order: an exit known for this pid belongs to an earlier child.
                self._codes.pop(frame.get("spawned", -1), None)
                self._answers.put(frame)
        except (OSError, ValueError):
            pass
        finally:
            stream.close()
            with self._changed:
                self._lost = True
                self._changed.notify_all()
            self._answers.put(None)


@dataclass(frozen=True)
class Process:
    """One child. Survives being asked anything after its end."""

    _processes: Processes
    pid: int
    stop_signal: int

    @property
    def code(self) -> int | None:
        return self._processes.code(self.pid)

    @property
    def is_running(self) -> bool:
        return self.code is None

    def wait(self, limit_s: float) -> int | None:
        return self._processes.wait(self.pid, limit_s)

    def send(self, number: int, *, tree: bool = False) -> list[int]:
        """Signal it (`tree`: and everything below it); the pids that were reached."""
        return self._processes.send(self.pid, number, tree=tree)

    def family(self) -> list[int]:
        """The pids of this process and everything below it that runs now."""
        return [self.pid, *guard.descendants(self.pid)] if self.is_running else []

    def stop(self, limit_s: float) -> int | None:
        """Ask it to end; after `limit_s` kill it and everything below it. Returns its code."""
        self.send(self.stop_signal)
        self.send(signal.SIGCONT)
        if (code := self.wait(limit_s)) is not None:
            return code
        return self.kill()

    def kill(self) -> int | None:
        """`kill -9` of it and everything below it; returns when all of them are gone."""
        family = self.send(signal.SIGKILL, tree=True)
        code = self.wait(5)
        until = time.monotonic() + 5
        while any(is_alive(pid) for pid in family) and time.monotonic() < until:
            time.sleep(0.005)
        return code


def _literally(argument: str) -> str:
    """For the guard's `str.format`, which fills in the numbers of inherited fds."""
    return argument.replace("{", "{{").replace("}", "}}")


def is_alive(pid: int) -> bool:
    """Whether this process, one of ours, runs. A zombie does not."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text("utf-8", "replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        # No such file where there is no /proc at all: then the signal above is all we know.
        return not Path("/proc/self").exists()
