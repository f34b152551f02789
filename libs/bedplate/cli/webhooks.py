"""`bedplate webhooks`: what became of deliveries, and once more, please."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

import click

from bedplate.cli.exits import explained
from bedplate.kernel.errors import BedplateError, Conflict, NotFound, Refused, Unavailable

_ANSWER_S_MAX = 30.0
_LIST_MAX = 1000
_REFUSALS: dict[int, type[BedplateError]] = {404: NotFound, 409: Conflict, 503: Unavailable}


@click.group(short_help="Look at deliveries of webhooks and repeat them.")
@click.option(
    "--url",
    default="http://127.0.0.1:2024",
    envvar="BEDPLATE_URL",
    show_default=True,
    show_envvar=True,
    help="Where the API answers.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    help="A header to send along, for a server that asks who you are; may be repeated.",
)
@click.pass_context
def webhooks(context: click.Context, url: str, headers: tuple[str, ...]) -> None:
    """Look at deliveries of webhooks and repeat them, through a server's API."""
    context.obj = _Api(url, headers)


@webhooks.command("list", short_help="Show deliveries, newest first.")
@click.option("--status", type=click.Choice(["pending", "delivered", "dead"]), help="Only these.")
@click.option("--run", metavar="ID", help="Only of this run.")
@click.option("--limit", type=click.IntRange(1, _LIST_MAX), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.pass_obj
def list_(api: _Api, status: str | None, run: str | None, limit: int, as_json: bool) -> None:
    """Show deliveries, newest first."""
    asked = {"status": status, "run_id": run, "limit": limit}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    with explained():
        for delivery in api.asked("GET", f"/webhooks/deliveries?{query}"):
            click.echo(json.dumps(delivery) if as_json else _line(delivery))


@webhooks.command(short_help="Try deliveries again, now.")
@click.argument("delivery_ids", nargs=-1, metavar="[ID]...")
@click.option("--dead", is_flag=True, help="All that were given up.")
@click.pass_obj
def redeliver(api: _Api, delivery_ids: tuple[str, ...], dead: bool) -> None:
    """Try the deliveries with these IDs again, now, with all their retries."""
    if bool(delivery_ids) == dead:
        raise click.UsageError("name deliveries, or --dead for all that were given up")
    with explained():
        for delivery_id in api.dead() if dead else delivery_ids:
            again = api.asked("POST", f"/webhooks/deliveries/{delivery_id}/redeliver")
            click.echo(_line(again))


class _Api:
    def __init__(self, url: str, headers: tuple[str, ...]) -> None:
        self._url = url.rstrip("/")
        self._headers: dict[str, str] = {}
        for header in headers:
            name, colon, value = header.partition(":")
            if not colon or not name.strip():
                raise click.UsageError(f"--header must be NAME:VALUE, not {header!r}")
            self._headers[name.strip()] = value.strip()

    def dead(self) -> list[str]:
        """All of them, asked for before the first one is tried again: they would move."""
        found: list[str] = []
        while True:
            query = urlencode({"status": "dead", "limit": _LIST_MAX, "offset": len(found)})
            page = self.asked("GET", f"/webhooks/deliveries?{query}")
            found += [delivery["delivery_id"] for delivery in page]
            if len(page) < _LIST_MAX:
                return found

    def asked(self, method: str, path: str) -> Any:
        """Raises what the server says went wrong."""
        try:
            request = urllib.request.Request(
                f"{self._url}{path}", method=method, headers=self._headers
            )
            with urllib.request.urlopen(request, timeout=_ANSWER_S_MAX) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                kind = _REFUSALS.get(error.code, Refused)
                raise kind(_detail(error.read(), error.code)) from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"nothing that we know answers at {self._url}: {error}") from error


def _detail(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}"


def _line(delivery: dict[str, Any]) -> str:
    state = f"{delivery['status']:<9} {delivery['tries']:>3} tries"
    why = delivery["last_error"] or ""
    parts = (delivery["delivery_id"], state, f"run {delivery['run_id']}", delivery["url"], why)
    return "  ".join(part for part in parts if part)
