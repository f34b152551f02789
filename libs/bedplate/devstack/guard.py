"""The guard: a small process that is the parent of everything the devstack starts.

`bedplate dev` and the tests talk to it over a socket pair (`processes.py` is the other end). It
forks every server and service, reports when one ends, and when the socket closes, for whatever
reason, it ends them all: so `kill -9` of `bedplate dev` leaves nothing behind. Three mechanisms,
because each alone has a hole:

* end of file on the socket, on every platform, also when the other end was killed;
* on Linux the guard is a child subreaper: a grandchild whose parent died (an executor's worker,
  also in a session of its own) becomes the guard's child and is found and ended;
* on Linux a child is killed by the kernel when the guard itself dies. The parent-death signal
  follows the *thread* that forked; that is why a single-threaded process forks, and not the
  caller's thread.

It runs as a script with `python -I -S`, in 20 ms, so it imports the standard library only.

Frames in both directions: four bytes of length, then JSON; the fds for a child (its output, then
what it inherits) ride on the length. Requests are answered in order; `exited` frames come in
between.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# After the caller is gone: this long for a clean end (PostgreSQL writes its last checkpoint), then
# SIGKILL.
END_S = 3.0
_KILL_S = 3.0


def descendants(pid: int) -> list[int]:
    """The living processes below `pid`, nearest first; without `pid` itself."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    level = children.get(pid, [])
    while level:
        found += level
        level = [below for child in level for below in children.get(child, [])]
    return found


def _parents() -> list[tuple[int, int]]:
    if not Path("/proc/self/stat").exists():
        table = subprocess.run(
            ["ps", "-axo", "pid=,ppid=,stat="],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        rows = [line.split() for line in table.stdout.splitlines()]
        return [(int(row[0]), int(row[1])) for row in rows if not row[2].startswith("Z")]
    pairs: list[tuple[int, int]] = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only, several times a second
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text("utf-8", "replace")
            except OSError:
                continue  # it ended while we were looking
            # The name stands in brackets and may hold anything, so fields are counted from the
            # last one.
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state not in "ZX":
                pairs.append((int(entry), int(parent)))
    return pairs


class Guard:
    def __init__(self, caller: socket.socket) -> None:
        self._caller = caller
        self._children: dict[int, tuple[subprocess.Popen[Any], int]] = {}
        # Loaded now: between fork and exec only calls are safe, not imports and look-ups.
        self._prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
        if self._prctl is not None:
            self._prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def run(self) -> None:
        """Serve until the caller is gone, then end every child."""
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # It outlives the terminal and its Ctrl-C: the caller decides what ends, and in which order.
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_IGN)
        with selectors.DefaultSelector() as selector:
            selector.register(self._caller, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            try:
                while True:
                    ready = {key.fileobj for key, _ in selector.select()}
                    if woken in ready:
                        woken.recv(4096)
                        self._reap()
                    if self._caller in ready:
                        self._answer()
            except (EOFError, OSError):
                self._end_all()

    def _answer(self) -> None:
        head, fds, _, _ = socket.recv_fds(self._caller, 4, 4)
        try:
            request = json.loads(
                self._read(int.from_bytes(head + self._read(4 - len(head)), "big"))
            )
            self._send(
                self._spawn(request, fds) if request["do"] == "spawn" else self._signal(request)
            )
        finally:
            for fd in fds:
                os.close(fd)

    def _spawn(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        account: dict[str, Any] = {}
        if request["account"] is not None:
            user, group = request["account"]
            account = {"user": user, "group": group, "extra_groups": []}
        try:
            child = subprocess.Popen(
                # What the child inherits has the numbers it has here.
                [part.format(fds=fds[1:]) for part in request["argv"]],
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=fds[0],
                stderr=fds[0],
                pass_fds=fds[1:],
                start_new_session=True,
                preexec_fn=self._die_with_me,
                **account,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return {"refused": f"{request['argv'][0]}: {error}"}
        self._children[child.pid] = (child, request["stop_signal"])
        return {"spawned": child.pid}

    def _die_with_me(self) -> None:
        # Runs in the child after it changed its user, which would have cleared the setting.
        for restored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(restored, signal.SIG_DFL)
        if self._prctl is not None:
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def _signal(self, request: dict[str, Any]) -> dict[str, Any]:
        """Signal a child not yet reaped: its pid cannot belong to somebody else by now."""
        pid: int = request["pid"]
        self._reap()
        if pid not in self._children:
            return {"signalled": []}
        pids = [pid, *descendants(pid)] if request["tree"] else [pid]
        return {"signalled": [each for each in pids if _sent(each, request["signal"])]}

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child, _ = self._children.pop(pid, (None, 0))
            if child is not None:
                child.returncode = os.waitstatus_to_exitcode(status)
                self._send({"exited": pid, "code": child.returncode})

    def _end_all(self) -> None:
        for pid, (_, stop_signal) in list(self._children.items()):
            _sent(pid, stop_signal)
            _sent(pid, signal.SIGCONT)
        self._wait_until_gone(END_S, kill=False)
        self._wait_until_gone(_KILL_S, kill=True)

    def _wait_until_gone(self, limit_s: float, *, kill: bool) -> None:
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            if kill:
                # Again and again: what is orphaned by this round becomes our child and is seen in
                # the next.
                for pid in {*self._children, *descendants(os.getpid())}:
                    _sent(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._caller.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _send(self, frame: dict[str, Any]) -> None:
        body = json.dumps(frame).encode()
        self._caller.sendall(len(body).to_bytes(4, "big") + body)


def _sent(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    Guard(socket.socket(fileno=int(sys.argv[1]))).run()
