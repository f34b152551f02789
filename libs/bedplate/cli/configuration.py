"""`bedplate configuration`: every setting of this version."""

from __future__ import annotations

import click

from bedplate.cli.exits import explained


@click.command(short_help="Print every setting and key of this version.")
def configuration() -> None:
    """Print every variable and every key of langgraph.json, as Markdown.

    With names, defaults, limits and meanings; and what has no effect here.
    """
    with explained():
        from bedplate.contracts.configuration import page

        click.echo(page(), nl=False)
