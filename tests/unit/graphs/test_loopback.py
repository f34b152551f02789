"""The SDK's client without a URL, inside a worker."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk._async import client as sdk

from bedplate.graphs import loopback
from bedplate.kernel.run_credential import HEADER, read

KEY = b"a key"


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> loopback.Way:
    """Installed for this test alone."""
    for name in ("get_asgi_transport", "_registered_transports"):
        monkeypatch.setattr(sdk, name, getattr(sdk, name))
    monkeypatch.setenv("__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT", "false")
    return loopback.install("http://gateway.test:2024/prefix")


class Line(httpx.AsyncBaseTransport):
    """Takes what would go over the network."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json={"version": "1"}, request=request)


async def test_a_client_without_a_url_reaches_the_gateway_as_the_run(way: loopback.Way) -> None:
    client = get_client()
    line = client.http.client._transport._line = Line()  # pyright: ignore
    await client.http.get("/info")
    way.key = KEY
    await client.http.get("/info")
    run_id = uuid4()
    token = loopback.acting_attempt.set((run_id, 3))
    try:
        await client.http.get("/info?x=1", headers={HEADER: "forged"})
    finally:
        loopback.acting_attempt.reset(token)

    before, nobody, run = line.requests
    assert HEADER not in before.headers and HEADER not in nobody.headers
    assert str(run.url) == "http://gateway.test:2024/prefix/info?x=1"
    assert run.headers["host"] == "gateway.test:2024"
    assert read(KEY, run.headers[HEADER]) == (run_id, 3)


async def test_a_client_with_a_url_goes_where_it_says(way: loopback.Way) -> None:
    client = get_client(url="http://elsewhere.test")
    assert not isinstance(client.http.client._transport, loopback.Loopback)
