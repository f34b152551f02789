"""One try of one delivery over HTTP, hop by hop.

Every hop is judged twice: its URL before its name is resolved, and each address the name resolves
to. The connection then goes to those very addresses, not to the name, so an answer of the resolver
that changes afterwards changes nothing; TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self, TypeAlias, cast
from urllib.parse import urljoin

import httpcore

from bedplate.webhooks.rules import Forbidden, Target, UrlRules, allowed_target, why_forbidden

REDIRECTS_MAX = 5
# With the same method and body. 303 asks to read something instead: no delivery.
_REDIRECTS = (301, 302, 307, 308)
# A resolver that hangs keeps its thread beyond the try's own limit.
_RESOLVERS_MAX = 64


@dataclass(frozen=True)
class Answered:
    """The receiver said something. `retry_after_s` if it said when to come back."""

    status_code: int
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Failed:
    """Nothing was said in time; another try may do better."""

    why: str


@dataclass(frozen=True)
class Barred:
    """A rule forbids it, or the receiver leads nowhere: another try would end the same way."""

    why: str


Result: TypeAlias = Answered | Failed | Barred
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host; raises `OSError` when there are none."""


@dataclass(frozen=True)
class Parcel:
    """`signed` headers go along every redirect; `own` ones, which may hold a receiver's secret,
    only to the origin that was asked for."""

    url: str
    body: bytes
    signed: Mapping[str, str]
    own: Mapping[str, str]


class Courier:
    """Usable inside `async with`, by any number of tasks at once."""

    name = "the courier"

    def __init__(
        self,
        rules: UrlRules,
        *,
        connect_s: float,
        whole_s: float,
        app_url: str | None = None,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._connect_s = connect_s
        self._whole_s = whole_s
        # The operator's own word: no rule of webhooks is about it.
        self._app = allowed_target(app_url, _ANYWHERE) if app_url else None
        self._resolvers = ThreadPoolExecutor(_RESOLVERS_MAX, thread_name_prefix="resolver")
        self._resolve = resolve or self._resolved
        self._tls = tls or _trusting()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # A thread in a resolver that hangs is not waited for; it ends by itself or with us.
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def deliver(self, parcel: Parcel) -> Result:
        """Never raises for what a receiver, a name or a network does."""
        try:
            async with asyncio.timeout(self._whole_s):
                return await self._followed(parcel)
        except TimeoutError:
            return Failed(f"no answer within {self._whole_s:g} s")

    async def _followed(self, parcel: Parcel) -> Result:
        try:
            target = allowed_target(parcel.url, self._rules)
        except Forbidden as error:
            return Barred(f"the URL {error.message}")
        first = target.origin
        headers = {**parcel.own, **parcel.signed}
        for _ in range(REDIRECTS_MAX + 1):
            answer = await self._asked(target, headers, parcel.body)
            if not isinstance(answer, _Answer):
                return answer
            if answer.status_code not in _REDIRECTS:
                return Answered(answer.status_code, _seconds_of(answer.retry_after))
            if not answer.location:
                return Barred(f"HTTP {answer.status_code} without a Location")
            try:
                target = allowed_target(urljoin(target.url, answer.location), self._rules)
            except Forbidden as error:
                return Barred(f"it redirects to a URL that {error.message}")
            except ValueError:
                return Barred("it redirects to what is no URL")
            if target.origin != first:
                headers = dict(parcel.signed)
        return Barred(f"it redirects more than {REDIRECTS_MAX} times")

    async def _asked(self, target: Target, headers: Mapping[str, str], body: bytes) -> Any:
        """An `_Answer`, or the `Failed` or `Barred` of this hop."""
        if target.is_own:
            if self._app is None:
                return Barred("it is a path, but where this server's app is was not configured")
            # The app may be mounted below a path of its own.
            target = replace(self._app, path=self._app.path.rstrip("/") + target.path)
            is_trusted = True
        else:
            is_trusted = False
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await self._resolve(target.host, target.port)
        except TimeoutError:
            return Failed(f"the name was not resolved within {self._connect_s:g} s")
        except (OSError, UnicodeError) as error:
            return Failed(f"the name cannot be resolved: {error}")
        for address in () if is_trusted else addresses:
            # All of them: a name with one foot inside is not to be trusted with the other.
            if why := why_forbidden(address, self._rules):
                return Barred(f"its host resolves to {address}, which {why}")
        return await self._sent(target, addresses, headers, body)

    async def _sent(
        self, target: Target, addresses: Sequence[str], headers: Mapping[str, str], body: bytes
    ) -> Any:
        request = httpcore.Request(
            "POST",
            httpcore.URL(
                scheme=target.scheme, host=target.host, port=target.port, target=target.path
            ),
            headers={
                "Host": target.authority,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "User-Agent": "bedplate-webhooks/1",
                "Connection": "close",
                **headers,
            },
            content=body,
            extensions={"timeout": {"connect": self._connect_s}},
        )
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_To(addresses),
        )
        try:
            async with pool:
                response = await pool.handle_async_request(request)
                # What it says besides is not read: nothing here wants it, and it may be endless.
                await response.aclose()
        except httpcore.TimeoutException:
            return Failed(f"no connection within {self._connect_s:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return Failed(f"{type(error).__name__}: {error}".removesuffix(": "))
        found = {name.lower(): value for name, value in response.headers}
        return _Answer(
            response.status,
            location=found.get(b"location", b"").decode("latin-1"),
            retry_after=found.get(b"retry-after", b"").decode("latin-1"),
        )

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        # Not the event loop's own resolver: it has four threads for everybody, and a few names
        # whose servers do not answer would hold up all the others.
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._resolvers, _look_up, host, port)
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class _Answer:
    status_code: int
    location: str
    retry_after: str


class _To(httpcore.AsyncNetworkBackend):
    """Connects to these addresses, whatever the host is called."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._sockets = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        # One limit for all of them together.
        until = None if timeout is None else asyncio.get_running_loop().time() + timeout
        for address in self._addresses:
            left = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
            try:
                return await self._sockets.connect_tcp(address, port, left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


_ANYWHERE = UrlRules(require_https=False, disable_loopback=False)


def _trusting() -> ssl.SSLContext:
    """The usual authorities, and those an operator names by SSL_CERT_FILE or SSL_CERT_DIR."""
    context = httpcore.default_ssl_context()
    if "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ:
        context.set_default_verify_paths()
    return context


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _seconds_of(retry_after: str) -> float | None:
    """`Retry-After` in either of its forms."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    if at.tzinfo is None:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
