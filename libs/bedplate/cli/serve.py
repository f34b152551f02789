"""`bedplate serve`: one service in this process, as compose and Kubernetes run it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from bedplate.cli.exits import explained
from bedplate.devstack.services import SERVICES

_KINDS = {kind.name: kind for kind in SERVICES}


@click.command(short_help="Run one service in the foreground.")
@click.argument("service", type=click.Choice(list(_KINDS)))
def serve(service: str) -> None:
    """Run one SERVICE in the foreground.

    It is configured by the environment (DATABASE_URI, NATS_URL, REDIS_URI, BEDPLATE_…) and expects
    a migrated database: see `bedplate migrate`. SIGTERM ends it in order. Settings in the `env` of
    the project's langgraph.json count where the environment has none.
    """
    with explained():
        for name, value in _settings_of_project(service).items():
            os.environ.setdefault(name, value)
        sys.stdout.flush()
        # The service takes this process over: its signals and its exit code are its own.
        os.execv(sys.executable, [sys.executable, "-P", "-m", _KINDS[service].module])


def _settings_of_project(service: str) -> dict[str, str]:
    from bedplate.devstack.services import settings_among
    from bedplate.graphs.config import FILE_NAME, given_blocks

    kind = _KINDS[service]
    names = (f"{kind.prefix}_CONFIG", "LANGGRAPH_CONFIG_PATH")
    given = next((os.environ[name] for name in names if os.environ.get(name)), None)
    file = Path(given or FILE_NAME)
    # Only an executor has a project without being told of one; what is missing it says itself.
    if not file.exists() or not (given or service == "executor"):
        return {}
    return settings_among(given_blocks(file, {}).env, [kind])
