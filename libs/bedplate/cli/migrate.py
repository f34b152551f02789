"""`bedplate migrate`: bring a database and a broker to this version."""

from __future__ import annotations

import asyncio
import os

import click

from bedplate.cli.exits import explained


@click.command(short_help="Create or update tables and streams.")
@click.option(
    "--database-uri",
    envvar=["DATABASE_URI", "POSTGRES_URI"],
    show_envvar=True,
    required=True,
    help="PostgreSQL, 15 or newer.",
)
@click.option(
    "--nats-url",
    envvar="NATS_URL",
    show_envvar=True,
    required=True,
    help="NATS with JetStream, 2.12 or newer.",
)
def migrate(database_uri: str, nats_url: str) -> None:
    """Create or update the tables in PostgreSQL and the streams in NATS.

    Safe to run again, and at once from several machines. Needed before a new version of the
    services starts; `bedplate dev` does it by itself.
    """
    with explained():
        from bedplate.devstack import schema
        from bedplate.devstack.given import check_nats, check_postgres

        check_postgres(database_uri)
        check_nats(nats_url)
        applied = asyncio.run(schema.migrate(database_uri))
        for migration in applied:
            click.echo(f"applied {migration.component}/{migration.number:04d}_{migration.name}")
        if not applied:
            click.echo("no migration was pending")
        asyncio.run(schema.declare(nats_url, os.environ))
        click.echo("streams are declared")
