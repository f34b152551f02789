"""One directory with all a devstack keeps: databases, logs, ports, password. One stack in it."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path

from bedplate.devstack.errors import DataDirectoryInUse, DataDirectoryUnusable
from bedplate.devstack.processes import is_alive

# A killed stack needs this long to end its servers (`guard.END_S`, then SIGKILL); its lock is held
# until then.
_ENDING_S = 10.0


class DataDirectory:
    """The folder, locked from `open` to `close`, by the kernel: no lock can be left behind."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def lock(self) -> int:
        """The fd that holds the lock; it is shared by every process that inherits it."""
        assert self._lock is not None, "the data directory is open"
        return self._lock

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def open(self) -> None:
        """Make it and take its lock. Raises `DataDirectoryInUse`, `DataDirectoryUnusable`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            # A password lies in it, and users' conversations.
            self.logs.chmod(0o700)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataDirectoryUnusable(
                f"the data directory {self.path} cannot be written ({error.strerror}):"
                " choose another with --data-dir"
            ) from error
        try:
            self._take(lock)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def password(self) -> str:
        """The password of this directory's servers, made at the first call, readable by the owner.

        The servers listen on the loopback, which every local user can reach.
        """
        file = self.path / "password"
        if not file.exists():
            fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as text:
                text.write(secrets.token_hex(16))
        return file.read_text("utf-8").strip()

    def _take(self, lock: int) -> None:
        until = time.monotonic() + _ENDING_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
                is_ending = holder.isdigit() and not is_alive(int(holder))
                if is_ending and time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                raise DataDirectoryInUse(
                    f"the data directory {self.path} is in use by process {holder or 'unknown'}:"
                    " stop it, or choose another with --data-dir",
                    pid=holder,
                ) from error
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            return


def holder_of(folder: Path) -> str | None:
    """The pid that holds the lock of a data directory, if anybody does."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
    else:
        return None
    finally:
        os.close(lock)


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whatever the umask says."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as output:
        os.fchmod(fd, 0o600)
        output.write(text)
