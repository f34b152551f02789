"""`bedplate dev`: everything on this machine, for the project in this folder."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bedplate.cli.exits import explained
from bedplate.cli.signals import Signals
from bedplate.cli.terminal import Terminal

if TYPE_CHECKING:
    from bedplate.devstack.stack import Stack
    from bedplate.graphs.config import ProjectConfig

DEFAULT_PORT = 2024
_PORT_TRIES = 3


@click.command(short_help="Run the project in this folder; Ctrl-C stops it.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The project's langgraph.json. [default: the one in this folder]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help=f"Port to serve on. [default: {DEFAULT_PORT}, or the next one that is free]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where databases and logs are kept. [default: .bedplate beside the configuration]",
)
@click.option("--no-reload", is_flag=True, help="Do not load the graphs anew when files change.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that run graphs.",
)
def dev(
    config: Path | None,
    host: str,
    port: int | None,
    data_dir: Path | None,
    no_reload: bool,
    workers: int,
) -> None:
    """Run your project here: servers, services, API; stop it with Ctrl-C.

    Starts a private PostgreSQL, NATS and Valkey, all services, and serves the graphs of
    langgraph.json. Threads and runs are kept in the data directory. DATABASE_URI, NATS_URL and
    REDIS_URI in the environment replace the private servers.
    """
    with explained():
        project = _project(config)
        signals = Signals()
        folder = data_dir or project.folder / ".bedplate"
        terminal = Terminal()
        for notice in project.notices:
            terminal.say(notice)
        try:
            stack = _start(
                project,
                folder,
                terminal,
                host=host,
                port=port,
                reload=not no_reload,
                workers=workers,
            )
        except KeyboardInterrupt:
            terminal.say("stopped while starting")
            return
        _run(stack, project, terminal, signals)


def _start(
    project: ProjectConfig,
    folder: Path,
    terminal: Terminal,
    *,
    host: str,
    port: int | None,
    reload: bool,
    workers: int,
) -> Stack:
    from bedplate.devstack.errors import ServiceFailed
    from bedplate.devstack.ports import is_free
    from bedplate.devstack.stack import Stack

    terminal.say(f"starting in {folder.absolute()} …")
    for attempt in range(1, _PORT_TRIES + 1):
        chosen = _port(host, port, terminal)
        stack = Stack(
            folder,
            project=project.path,
            workers=workers,
            host=host,
            port=chosen,
            reload=reload,
            env=_settings(project),
            log_format="pretty",
            on_output=terminal.show,
            tell=terminal.say,
        )
        try:
            stack.start()
        except ServiceFailed:
            # Between our look and the gateway's start somebody else may have taken the port.
            is_stolen = port is None and not is_free(chosen, host)
            if not is_stolen or attempt == _PORT_TRIES:
                raise
            terminal.forget()
        else:
            return stack
    raise AssertionError("the last attempt returns or raises")


def _run(stack: Stack, project: ProjectConfig, terminal: Terminal, signals: Signals) -> None:
    asked_to_stop = threading.Event()
    signals.then(asked_to_stop.set)
    terminal.release()
    terminal.print(_greeting(stack, project))
    try:
        stack.supervise(asked_to_stop)
    finally:
        # A second request is carried out beside the first, which is waiting in `stop`.
        signals.then(lambda: threading.Thread(target=stack.hurry, daemon=True).start())
        terminal.say("stopping … (Ctrl-C again: at once)")
        stack.stop()
        terminal.say(f"stopped; threads and runs are kept in {stack.data_dir}")


def _project(config: Path | None) -> ProjectConfig:
    from bedplate.graphs.config import FILE_NAME, load_config
    from bedplate.kernel.errors import Refused

    if config is None and not Path(FILE_NAME).is_file():
        raise Refused(
            f"there is no {FILE_NAME} in {Path.cwd()}: go to the folder of your project, or name"
            f" the file with --config PATH"
        )
    return load_config(config or Path(FILE_NAME))


def _settings(project: ProjectConfig) -> dict[str, str]:
    """Of the project's own variables those that the services read at start. Not the servers: a
    DATABASE_URI beside an agent is the agent's."""
    from bedplate.devstack.servers import GIVEN
    from bedplate.devstack.services import settings_among

    servers = {name for names in GIVEN.values() for name in names}
    return {
        name: value
        for name, value in settings_among(project.added_env(os.environ)).items()
        if name not in servers
    }


def _port(host: str, asked: int | None, terminal: Terminal) -> int:
    from bedplate.devstack.errors import PortTaken
    from bedplate.devstack.ports import is_free, next_free

    if asked is None:
        port = next_free(DEFAULT_PORT, host)
        if port != DEFAULT_PORT:
            terminal.say(f"port {DEFAULT_PORT} is taken, so this is on {port}")
        return port
    if not is_free(asked, host):
        raise PortTaken(
            f"port {asked} on {host} is taken or not allowed: stop what uses it, choose another"
            " with --port, or leave --port out to get the next free one"
        )
    return asked


def _greeting(stack: Stack, project: ProjectConfig) -> str:
    url = stack.url
    graph = next(iter(project.graphs))
    question = {"messages": [{"role": "user", "content": "Hello! What can you do for me?"}]}
    body = json.dumps({"assistant_id": graph, "input": question})
    return f"""
Bedplate is ready ({stack.ready_in_s:.1f} s).

  API       {url}
  Docs      {url}/docs
  Graphs    {", ".join(project.graphs)}
  Data      {stack.data_dir}
  Logs      {stack.data_dir / "logs"}

Try it from another terminal:

curl -s {url}/runs/wait -H 'content-type: application/json' -d {shlex.quote(body)}

or in {sys.executable}:

from langgraph_sdk import get_sync_client
client = get_sync_client(url={url!r})
thread = client.threads.create()
question = {question!r}
for part in client.runs.stream(thread["thread_id"], {graph!r}, input=question): print(part)

Stop with Ctrl-C.
"""
