"""The command line. Commands import what they need when they run: `bedplate --help` must not wait
for a web framework."""

from __future__ import annotations

import click

from bedplate.cli.configuration import configuration
from bedplate.cli.contracts import contracts
from bedplate.cli.dev import dev
from bedplate.cli.doctor import doctor
from bedplate.cli.migrate import migrate
from bedplate.cli.serve import serve
from bedplate.cli.version import version
from bedplate.cli.webhooks import webhooks

__all__ = ["main"]

_EPILOG = """\b
Exit codes:
   0  done
   1  failed; the message says why
   2  wrong usage of this command
  69  a server is missing, too old or cannot be reached
  78  the configuration or the project cannot be used

Start with `bedplate dev` in a folder that has a langgraph.json.
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Bedplate runs LangGraph and deepagents agents durably and serves them over HTTP."""


for _command in (dev, serve, migrate, webhooks, configuration, contracts, doctor, version):
    main.add_command(_command)
