"""`bedplate contracts`: write what other programs rely on."""

from __future__ import annotations

from pathlib import Path

import click

from bedplate.cli.exits import explained


@click.command(short_help="Write the published schemas (for developers).")
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("proto/published")
)
def contracts(folder: Path) -> None:
    """Write JSON Schemas, AsyncAPI, OpenAPI and samples into FOLDER.

    FOLDER is proto/published unless given. For developers of Bedplate: the files are committed.
    """
    with explained():
        from bedplate.contracts import write

        for path in write(folder):
            click.echo(path)
