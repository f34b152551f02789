"""`bedplate serve`: one service in this process, as compose and Kubernetes run it."""

from __future__ import annotations

import os
import sys

import click

from bedplate.cli.exits import explained
from bedplate.devstack.services import SERVICES

_MODULES = {kind.name: kind.module for kind in SERVICES}


@click.command(short_help="Run one service in the foreground.")
@click.argument("service", type=click.Choice(list(_MODULES)))
def serve(service: str) -> None:
    """Run one SERVICE in the foreground.

    It is configured by the environment (DATABASE_URI, NATS_URL, REDIS_URI, BEDPLATE_…) and expects
    a migrated database: see `bedplate migrate`. SIGTERM ends it in order.
    """
    with explained():
        sys.stdout.flush()
        # The service takes this process over: its signals and its exit code are its own.
        os.execv(sys.executable, [sys.executable, "-P", "-m", _MODULES[service]])
