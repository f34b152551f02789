"""The HTTP API's document, asked of the gateway's own app, in this process and without a server."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import Any

_PATH = "/openapi.json"


def http_document() -> dict[str, Any]:
    """Not from inside an event loop."""
    return asyncio.run(_asked())


async def _asked() -> dict[str, Any]:
    # By name, because libs may not import a service; this is the one place that looks at one.
    service = await import_module("bedplate_gateway.app").build()
    server = import_module("bedplate_gateway.http.server")
    (app,) = [each.app for each in service.resources if isinstance(each, server.HttpServer)]
    return json.loads(await _get(app, _PATH))


async def _get(app: Any, path: str) -> bytes:
    """The body of an answer of an ASGI app."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }
    statuses: list[int] = []
    body = bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, send)
    assert statuses == [200], f"{path} answered {statuses}: {bytes(body)!r}"
    return bytes(body)
