"""`bedplate version`: what exactly runs here."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of_package

import click

PACKAGES = (
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-sdk",
    "deepagents",
    "fastapi",
    "faststream",
    "nats-py",
    "asyncpg",
)


@click.command(short_help="Print versions.")
def version() -> None:
    """Print the versions of Bedplate, Python and what matters beside them."""
    click.echo(f"bedplate {installed('bedplate') or '(not installed)'}")
    click.echo(f"python {platform.python_version()} ({platform.platform()})")
    for package in PACKAGES:
        click.echo(f"{package} {installed(package) or '(not installed)'}")


def installed(package: str) -> str | None:
    try:
        return version_of_package(package)
    except PackageNotFoundError:
        return None
