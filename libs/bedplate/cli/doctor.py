"""`bedplate doctor`: what is here, what is wrong, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from bedplate.cli.dev import DEFAULT_PORT
from bedplate.cli.exits import FAILED
from bedplate.cli.version import PACKAGES, installed
from bedplate.kernel.errors import BedplateError

_OPTIONAL = frozenset({"deepagents"})
_COLORS = {"ok": "green", "note": "yellow", "wrong": "red"}


@dataclass(frozen=True)
class Finding:
    """`weight` is ok, note (works, but look) or wrong (must be mended)."""

    weight: str
    text: str


@click.command(short_help="Check what is here: what is wrong, what to do.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The project's langgraph.json. [default: the one in this folder]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="The data directory. [default: .bedplate beside the configuration]",
)
def doctor(config: Path | None, data_dir: Path | None) -> None:
    """Check servers, versions, configuration, ports and the data directory.

    Changes nothing and starts nothing. Exit code 1 if something is wrong.
    """
    from bedplate.graphs.config import FILE_NAME

    file = config or Path(FILE_NAME)
    folder = data_dir or file.absolute().parent / ".bedplate"
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": _python,
        "packages": _packages,
        "postgres": _postgres,
        "nats": _nats,
        "valkey": _valkey,
        "variables": _variables,
        "project": lambda: _project(file, is_asked_for=config is not None),
        "port": _port,
        "data": lambda: _data(folder),
        "tables": lambda: _tables(folder),
    }
    is_wrong = False
    for name, check in checks.items():
        for finding in _findings(check):
            is_wrong |= finding.weight == "wrong"
            weight = click.style(f"{finding.weight:<6}", fg=_COLORS[finding.weight])
            click.echo(f"{weight} {name:<9} {finding.text}")
    sys.exit(FAILED if is_wrong else 0)


def _findings(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except BedplateError as error:
        yield Finding("wrong", error.message)


def _python() -> Iterator[Finding]:
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.platform not in ("linux", "darwin"):
        yield Finding("wrong", f"{text}: {sys.platform} is not supported, use Linux or macOS")
    else:
        yield Finding("ok", text)


def _packages() -> Iterator[Finding]:
    found = {package: installed(package) for package in PACKAGES}
    for package in sorted(package for package, version in found.items() if version is None):
        if package in _OPTIONAL:
            yield Finding("note", f"{package} is not installed; only projects that use it need it")
        else:
            yield Finding("wrong", f"{package} is missing: pip install 'bedplate[dev]'")
    present = [f"{package} {version}" for package, version in found.items() if version]
    yield Finding("ok", ", ".join(present))


def _postgres() -> Iterator[Finding]:
    from bedplate.devstack.given import check_postgres, place
    from bedplate.devstack.programs import find_postgres

    if (uri := _given("postgres")) is not None:
        yield Finding("ok", f"PostgreSQL {check_postgres(uri)} at {place(uri)}, given")
    else:
        found = find_postgres()
        yield Finding("ok", f"PostgreSQL {found.version} in {found.prefix}, started by `dev`")


def _nats() -> Iterator[Finding]:
    from bedplate.devstack.given import check_nats, place
    from bedplate.devstack.nats import refuse_too_old
    from bedplate.devstack.programs import find_nats, program_version

    if (url := _given("nats")) is not None:
        yield Finding("ok", f"NATS {check_nats(url)} with JetStream at {place(url)}, given")
        return
    program = find_nats()
    version = program_version(program) or "0"
    refuse_too_old(version, str(program))
    yield Finding("ok", f"NATS {version}: {program}, started by `dev`")


def _valkey() -> Iterator[Finding]:
    from bedplate.devstack.errors import ServerUnreachable
    from bedplate.devstack.given import check_redis, place
    from bedplate.devstack.programs import find_valkey, program_version

    if (uri := _given("valkey")) is not None:
        try:
            check_redis(uri)
        except ServerUnreachable as error:
            yield Finding("note", f"{error.message}; everything works without, only slower")
        else:
            yield Finding("ok", f"answers at {place(uri)}, given")
    elif (program := find_valkey()) is not None:
        yield Finding("ok", f"{program_version(program)}: {program}, started by `dev`")
    else:
        yield Finding("note", "none was found; everything works without, only slower")


def _variables() -> Iterator[Finding]:
    from bedplate.chassis.errors import SettingsError
    from bedplate.devstack.services import SERVICES, settings_of
    from bedplate.foreign import without_effect

    for kind in SERVICES:
        try:
            settings_of(kind).from_env()
        except SettingsError as error:
            for problem in error.problems:
                yield Finding("wrong", f"{kind.name}: {problem}")
    for notice in without_effect(os.environ):
        yield Finding("note", notice)


def _project(file: Path, *, is_asked_for: bool) -> Iterator[Finding]:
    from bedplate.graphs.config import load_config

    if not is_asked_for and not file.is_file():
        yield Finding("note", f"no {file.name} here; name one with --config")
        return
    project = load_config(file)
    for notice in project.notices:
        yield Finding("note", notice)
    yield Finding("ok", f"{project.path}: {', '.join(project.graphs)}")


def _port() -> Iterator[Finding]:
    from bedplate.devstack.ports import is_free

    if is_free(DEFAULT_PORT):
        yield Finding("ok", f"{DEFAULT_PORT} is free")
    else:
        yield Finding("note", f"{DEFAULT_PORT} is taken: `dev` takes the next one, or use --port")


def _data(folder: Path) -> Iterator[Finding]:
    from bedplate.devstack.data_directory import holder_of
    from bedplate.devstack.postgres import refuse_other_majors
    from bedplate.devstack.programs import find_postgres

    if not folder.exists():
        is_possible = os.access(_existing_parent(folder), os.W_OK)
        remedy = "is made by `dev`" if is_possible else "cannot be made: choose with --data-dir"
        yield Finding("ok" if is_possible else "wrong", f"{folder} {remedy}")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("wrong", f"{folder} cannot be written: choose another with --data-dir")
        return
    if _given("postgres") is None:
        refuse_other_majors(folder, find_postgres())
    holder = holder_of(folder)
    yield Finding("ok", f"{folder}, " + (f"in use by process {holder}" if holder else "not in use"))


def _tables(folder: Path) -> Iterator[Finding]:
    from bedplate.devstack.data_directory import holder_of

    uri, command = _given("postgres"), "bedplate migrate"
    if uri is None and holder_of(folder):
        uri = json.loads((folder / "endpoints.json").read_text("utf-8"))["database_uri"]
        command = "restart `bedplate dev`"
    if uri is None:
        yield Finding("ok", "are made and updated by `dev`")
        return
    from bedplate.devstack import schema

    missing = asyncio.run(schema.pending(uri))
    names = ", ".join(f"{each.component}/{each.number:04d}_{each.name}" for each in missing)
    if missing:
        yield Finding("wrong", f"{len(missing)} migrations are pending ({names}): {command}")
    else:
        yield Finding("ok", "up to date")


def _given(server: str) -> str | None:
    from bedplate.devstack.servers import GIVEN

    return next((os.environ[name] for name in GIVEN[server] if os.environ.get(name)), None)


def _existing_parent(folder: Path) -> Path:
    return next(parent for parent in folder.absolute().parents if parent.exists())
