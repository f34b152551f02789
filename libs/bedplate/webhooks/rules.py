"""May this URL be called, and may this address be connected to? Pure: names are resolved elsewhere.

A URL is taken apart once, here, and sent as its parts: two parsers that disagree about a host are
how such checks get circumvented. Addresses inside addresses (IPv4 in IPv6, 6to4, Teredo, NAT64) are
judged by the inner one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from bedplate.kernel.errors import Refused

URL_CHARS_MAX = 4096
"""Without a `url` block."""

_PORTS = {"http": 80, "https": 443}
_TEXT = re.compile(r"[!-~]+")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_SHOWN_MAX = 100

# Never a receiver, whatever is configured: link-local (where clouds keep their credentials), this
# host, groups, and what has no meaning. Two clouds keep theirs elsewhere.
_NEVER = (
    *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/128", "fe80::/10", "fec0::/10", "ff00::/8", "100::/64"),
    *("100.100.100.200/32", "fd00:ec2::254/128"),
)
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_PRIVATE = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15"),
    "fc00::/7",
)
_NEVER_NETWORKS = tuple(map(ip_network, _NEVER))
_LOOPBACK_NETWORKS = tuple(map(ip_network, _LOOPBACK))
_PRIVATE_NETWORKS = tuple(map(ip_network, _PRIVATE))
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))

_Domain = Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$")]
_Port = Annotated[int, Field(ge=1, le=65_535)]


class UrlRules(BaseModel):
    """The block `webhooks.url`: its defaults are those of a block that exists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    require_https: bool = True
    allowed_domains: list[_Domain] | None = None
    allowed_ports: list[_Port] | None = None
    max_url_length: int = Field(default=2048, ge=1, le=65_536)
    disable_loopback: bool = True
    disable_private_ips: bool = False


WITHOUT_BLOCK = UrlRules(require_https=False, max_url_length=URL_CHARS_MAX)


@dataclass(frozen=True)
class Target:
    """A URL that may be called, in parts. `host` is empty for a path of the server's own app."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query, never empty."""

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def is_own(self) -> bool:
        return not self.host

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return self.path if self.is_own else f"{self.scheme}://{self.authority}{self.path}"


class Forbidden(Refused):
    """This URL or address may not be called by a webhook."""


def allowed_target(url: str, rules: UrlRules) -> Target:
    """The URL in parts. Raises `Forbidden` with the rule it breaks."""
    if len(url) > rules.max_url_length:
        raise Forbidden(f"is {len(url)} characters long, at most {rules.max_url_length} may be")
    if not _TEXT.fullmatch(url) or "\\" in url:
        raise Forbidden("must be a URL of ASCII characters without blanks or backslashes")
    if url.startswith("/") and not url.startswith("//"):
        if rules.disable_loopback:
            raise Forbidden(
                "is a path of this server, which is loopback: webhooks.url.disable_loopback forbids"
            )
        return Target("http", "", 80, url.partition("#")[0])
    target = _parts(url)
    if rules.require_https and target.scheme != "https":
        raise Forbidden("must begin with https: webhooks.url.require_https")
    if rules.allowed_ports is not None and target.port not in rules.allowed_ports:
        raise Forbidden(f"has port {target.port}, which is not in webhooks.url.allowed_ports")
    if rules.allowed_domains is not None and not _is_named(target.host, rules.allowed_domains):
        raise Forbidden(
            f"has host {_shown(target.host)}, which is not in webhooks.url.allowed_domains"
        )
    _look_at_host(target.host, rules)
    return target


def why_forbidden(address: str, rules: UrlRules) -> str | None:
    """Why this IP address (as a resolver gives it) may not be connected to; None: it may."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return "is no IP address"
    return next((why for each in _layers(found) if (why := _judged(each, rules))), None)


def _judged(address: IPv4Address | IPv6Address, rules: UrlRules) -> str | None:
    if any(address in network for network in _NEVER_NETWORKS):
        return "is a link-local, metadata or reserved address, which no webhook may call"
    if rules.disable_loopback and any(address in network for network in _LOOPBACK_NETWORKS):
        return "is a loopback address: webhooks.url.disable_loopback forbids"
    if rules.disable_private_ips and any(address in network for network in _PRIVATE_NETWORKS):
        return "is a private address: webhooks.url.disable_private_ips forbids"
    return None


def _layers(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address, and the IPv4 addresses it stands for."""
    layers: list[IPv4Address | IPv6Address] = [address]
    if isinstance(address, IPv4Address):
        return layers
    if any(address in network for network in _NAT64):
        layers.append(IPv4Address(int(address) & 0xFFFFFFFF))
    # `::a.b.c.d`, the form that preceded mapped addresses; `::1` and `::` are none.
    if 0xFFFF < int(address) < 2**32:
        layers.append(IPv4Address(int(address)))
    layers += [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
    return layers + list(address.teredo or ())


def _parts(url: str) -> Target:
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise Forbidden(f"is no URL: {error}") from error
    scheme, host = split.scheme.lower(), (split.hostname or "").lower()
    if scheme not in _PORTS:
        raise Forbidden("must begin with http or https, or be a path of this server")
    if "@" in split.netloc:
        raise Forbidden("must not carry a user or password: configure a header instead")
    if not host:
        raise Forbidden("has no host")
    if port == 0:
        raise Forbidden("has port 0, which nothing can listen on")
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return Target(scheme, host.removesuffix("."), port or _PORTS[scheme], path)


def _look_at_host(host: str, rules: UrlRules) -> None:
    """What can be known of a host before it is resolved."""
    try:
        ip_address(host)
    except ValueError:
        # Resolvers read `127.1`, `0x7f.0.0.1` and `2130706433` as addresses too.
        if _NUMBER.fullmatch(host.rpartition(".")[2]) or not _NAME.fullmatch(host):
            raise Forbidden(f"has a host that is no name or address: {_shown(host)}") from None
        is_local = host == "localhost" or host.endswith(".localhost")
        if is_local and rules.disable_loopback:
            raise Forbidden("is on localhost: webhooks.url.disable_loopback forbids") from None
    else:
        if why := why_forbidden(host, rules):
            raise Forbidden(f"has host {host}, which {why}")


def _is_named(host: str, domains: list[str]) -> bool:
    for domain in domains:
        wanted = domain.lower().removesuffix(".")
        if wanted.startswith("*."):
            if host.endswith(wanted[1:]) and len(host) > len(wanted) - 1:
                return True
        elif host == wanted:
            return True
    return False


def _shown(host: str) -> str:
    return host[:_SHOWN_MAX]
