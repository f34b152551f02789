"""`get_client()` without a URL inside a graph: it reaches the project's own gateway, as the run's
user. So do the things that stand on it, like the async sub-agents of `deepagents`.

The SDK gives such a client an in-process transport to the app of the server it runs in. A worker is
not the API server, so the transport here takes each request to the gateway over HTTP, and shows
there on whose behalf it comes. Unlike the SDK's own, it passes streams on as they come.

Source: langgraph_sdk 0.4, `langgraph_sdk/_async/client.py`; `tests/unit/graphs/test_loopback.py`
fails when the SDK asks for its transport in another way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from langgraph_sdk._async import client as sdk

from bedplate.kernel.run_credential import HEADER, issue

acting_attempt: ContextVar[tuple[UUID, int] | None] = ContextVar("acting_attempt", default=None)
"""The run and attempt on whose behalf this code executes, in any task or thread it started."""

# Or else the SDK looks for the vendor's server, and would start it if the project has it installed.
_DEFER = "__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT"
_CONNECT_TRIES = 5


@dataclass
class Way:
    """To the gateway. Clients may be made while the project is imported, before there is a `key`;
    their requests then speak for nobody."""

    gateway: httpx.URL
    key: bytes | None = None


class Loopback(httpx.AsyncBaseTransport):
    """Requests to any address go the `way`."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._line = httpx.AsyncHTTPTransport(retries=_CONNECT_TRIES)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        gateway = self._way.gateway
        prefix = gateway.raw_path.rstrip(b"/")
        request.url = gateway.copy_with(raw_path=prefix + request.url.raw_path)
        request.headers["host"] = gateway.netloc.decode()
        attempt = acting_attempt.get()
        if attempt is not None and self._way.key is not None:
            request.headers[HEADER] = issue(self._way.key, *attempt)
        return await self._line.handle_async_request(request)

    async def aclose(self) -> None:
        await self._line.aclose()


class _Unkept:
    """In place of the SDK's list of transports that wait for their app: it would keep every
    client."""

    def append(self, transport: Any) -> None:
        """Ours needs no app."""


def install(gateway: str) -> Way:
    """From now on `get_client()` without a URL reaches `gateway` (http://host:port[/prefix])."""
    way = Way(httpx.URL(gateway))

    def transport(app: Any = None, root_path: str = "") -> Loopback:
        return Loopback(way)

    def transports() -> Callable[..., Loopback]:
        return transport

    os.environ[_DEFER] = "true"
    setattr(sdk, "get_asgi_transport", transports)  # noqa: B010  the SDK has no public way
    setattr(sdk, "_registered_transports", _Unkept())  # noqa: B010
    return way
