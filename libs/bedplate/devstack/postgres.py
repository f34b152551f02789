"""A private PostgreSQL: TCP on the loopback with a password, data in `pg<major>/`.

PostgreSQL refuses to run as root, so root hands it to another account. That account must reach the
programs and the data, and often cannot: a checkout in `/root`, whose mode is 0700. No parent's mode
is ever changed for that. The programs are copied once to `/var/lib/bedplate`; the data stays where
it is and is inherited as an open folder, which `/proc/self/fd` opens without walking the path to it
(test_root_below_a_private_home_works_and_keeps_its_modes).
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bedplate.devstack.data_directory import DataDirectory
from bedplate.devstack.errors import DataDirectoryUnusable, ServerFailed
from bedplate.devstack.ports import HOST, Ports
from bedplate.devstack.processes import Account, Inherited, Process, Processes
from bedplate.devstack.programs import PostgresPrograms
from bedplate.devstack.server import Command, Server, tail

USER = "bedplate"
_INITDB_S = 120.0
_COPIES = Path("/var/lib/bedplate")
_SETTINGS = {
    "listen_addresses": HOST,
    # TCP only: a socket's path may have 107 bytes, and a data directory's is often longer.
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    # What we acknowledge survives a power failure here as it does in production.
    "fsync": "on",
    "synchronous_commit": "on",
    # Containers often have 64 MB of /dev/shm, which parallel queries can exhaust.
    "max_parallel_workers_per_gather": "0",
    "log_min_messages": "warning",
}


class Postgres(Server):
    name = "postgres"
    # "Fast": disconnects clients, writes a checkpoint, ends. SIGTERM would wait for every client.
    stop_signal = signal.SIGINT

    def __init__(self, folder: DataDirectory, ports: Ports, *, programs: PostgresPrograms) -> None:
        super().__init__(folder, ports)
        self._name = f"pg{programs.major}"
        self._programs = programs
        self.data = folder.path / self._name
        refuse_other_majors(folder.path, programs)
        self._account = self._account_to_use()
        self._is_walled = self._account is not None and not _reaches(self._account, folder.path)
        if self._is_walled and sys.platform != "linux":
            raise DataDirectoryUnusable(
                f"PostgreSQL does not run as root, and no other account can enter {folder.path}:"
                " run as an ordinary user, or choose another --data-dir"
            )
        self._programs = self._reachable(programs)
        self._password = folder.password()
        self._initdb: tuple[Process, Path] | None = None

    @property
    def uri(self) -> str:
        return f"postgresql://{USER}:{self._password}@{HOST}:{self.port}/postgres"

    @property
    def version(self) -> str:
        return self._programs.version

    def prepare(self, processes: Processes) -> None:
        """Begin `initdb` if there is no database yet."""
        if (self.data / "PG_VERSION").exists():
            return
        # Made beside it and renamed when complete, so that an interrupted initdb leaves no half a
        # database.
        fresh = self.data.with_name(f"{self._name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = fresh.with_suffix(".password")
        password.unlink(missing_ok=True)
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._password + "\n")
        for path in (fresh, password):
            self._hand_over(path)
        locale = (
            # Built into PostgreSQL: the same everywhere, also where the system has no C.UTF-8.
            ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if self._programs.major >= 17
            else ["--locale=C.UTF-8"]
        )
        argv = [
            self._programs.program("initdb"),
            *("-D", self._path_of(fresh, 0), "--pwfile", self._path_of(password, 1)),
            *("-U", USER, "--auth=scram-sha-256", "-E", "UTF8", *locale),
            *("--no-instructions", "--no-sync"),
        ]
        command = Command(argv, _env(), self._account, (fresh, password) if self._is_walled else ())
        self._initdb = (self.spawn(processes, command), fresh)

    def command(self) -> Command:
        self._finish_initdb()
        settings = {**_SETTINGS, "port": str(self.port)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        argv = [self._programs.program("postgres"), "-D", self._path_of(self.data, 0), *options]
        return Command(argv, _env(), self._account, (self.data,) if self._is_walled else ())

    def is_ready(self, process: Process) -> bool:
        # The postmaster writes its pid on the first line and its state on the eighth.
        try:
            lines = (self.data / "postmaster.pid").read_text("ascii", "replace").splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

    def _finish_initdb(self) -> None:
        if self._initdb is None:
            return
        process, fresh = self._initdb
        code = process.wait(_INITDB_S)
        fresh.with_suffix(".password").unlink(missing_ok=True)
        if code != 0:
            process.kill()
            raise ServerFailed(
                f"initdb failed ({code}); the end of {self.log}:\n{tail(self.log, 15)}"
            )
        fresh.rename(self.data)
        self._initdb = None

    def _account_to_use(self) -> Account | None:
        """As root: the account that already owns the database, else `postgres`, else `nobody`."""
        if os.geteuid() != 0:
            if self.data.exists() and (owner := self.data.stat().st_uid) != os.geteuid():
                raise DataDirectoryUnusable(
                    f"the database {self.data} belongs to user {_user_name(owner)}:"
                    " run as that user, or choose another --data-dir"
                )
            return None
        if self.data.exists() and (owner := self.data.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, _user_name(owner.st_uid))
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return Account(entry.pw_uid, entry.pw_gid, name)
        return Account(65_534, 65_534, "65534")

    def _reachable(self, programs: PostgresPrograms) -> PostgresPrograms:
        """Programs that the account can execute: these, or a copy that all projects share."""
        if self._account is None or _reaches(self._account, programs.program("postgres")):
            return programs
        source = hashlib.sha256(str(programs.prefix).encode()).hexdigest()[:8]
        copy = _COPIES / f"postgresql-{programs.version}-{source}"
        # Two folders deep as in site-packages: libraries are found by $ORIGIN/../../../*.libs.
        prefix = copy / "wheel" / programs.prefix.name
        if not copy.exists():
            _COPIES.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=_COPIES))
            shutil.copytree(programs.prefix, fresh / "wheel" / prefix.name, symlinks=True)
            for libraries in programs.libraries:
                shutil.copytree(libraries, fresh / libraries.name)
            for path in [fresh, *fresh.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
            for program in (fresh / "wheel" / prefix.name / "bin").iterdir():
                program.chmod(0o755)
            try:
                fresh.rename(copy)
            except OSError:
                # Another start was faster.
                shutil.rmtree(fresh)
        return PostgresPrograms(prefix, programs.version)

    def _hand_over(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.user, self._account.group, follow_symlinks=False)

    def _path_of(self, path: Path, index: int) -> Path | Inherited:
        return Inherited(index) if self._is_walled else path


def refuse_other_majors(folder: Path, programs: PostgresPrograms) -> None:
    """Raises `DataDirectoryUnusable` if `folder` has only databases of other major versions."""
    found = {
        path.name: (path / "PG_VERSION").read_text("ascii").strip()
        for path in folder.glob("pg*")
        if re.fullmatch(r"pg\d+", path.name) and os.access(path / "PG_VERSION", os.R_OK)
    }
    if not found or found.get(f"pg{programs.major}") == str(programs.major):
        return
    name, other = next(iter(found.items()))
    raise DataDirectoryUnusable(
        f"{folder / name} was written by PostgreSQL {other}, and what was found is PostgreSQL"
        f" {programs.version} in {programs.prefix}: choose another --data-dir, delete this one if"
        f" you do not need its threads, or give a PostgreSQL {other} with DATABASE_URI",
        major=other,
    )


def _env() -> dict[str, str]:
    # Nothing of the caller's: PGDATA, PGPORT or a strange locale would change what we start.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def _reaches(account: Account, path: Path) -> bool:
    """Whether the account can get to `path` without root's help, by owner and other bits."""
    resolved = path.resolve()
    for part in (resolved, *resolved.parents):
        found = part.stat()
        bit = 0o100 if found.st_uid == account.user else 0o001
        if not found.st_mode & bit:
            return False
    return True


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
