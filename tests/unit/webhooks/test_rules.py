"""Which URLs and addresses a webhook may call, rule by rule."""

from __future__ import annotations

import pytest

from bedplate.webhooks.rules import (
    WITHOUT_BLOCK,
    Forbidden,
    UrlRules,
    allowed_target,
    why_forbidden,
)

OPEN = UrlRules(require_https=False, disable_loopback=False)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://Example.com", "https://example.com/"),
        ("https://example.com:443/a?b=c#d", "https://example.com/a?b=c"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("https://example.com./x", "https://example.com/x"),
        ("https://[2606:4700::1111]:8443/x", "https://[2606:4700::1111]:8443/x"),
        ("https://93.184.216.34/x", "https://93.184.216.34/x"),
        ("https://xn--bcher-kva.example/x?y", "https://xn--bcher-kva.example/x?y"),
        ("https://my_host.internal/x", "https://my_host.internal/x"),
        ("https://example.com?q", "https://example.com/?q"),
    ],
)
def test_a_url_is_taken_apart_once(url: str, shown: str) -> None:
    assert allowed_target(url, UrlRules()).url == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        " https://example.com",
        "https://example.com/a b",
        "https://example.com/\r\nHost: x",
        "https://example.com\\@evil.test",
        "https://exämple.com",
        "https://user@example.com",
        "https://:pass@example.com",
        "https://@example.com",
        "https://",
        "https:///path",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:abc",
        "https://[::1",
        "https://exa mple.com",
        "https://-.com",
        "https://a..b",
        "example.com",
        "//example.com/x",
        "ftp://example.com",
        "javascript:alert(1)",
        "/path with blank",
    ],
)
@pytest.mark.parametrize("rules", [WITHOUT_BLOCK, OPEN])
def test_what_is_no_url_of_a_receiver_is_refused_under_any_rules(url: str, rules: UrlRules) -> None:
    with pytest.raises(Forbidden):
        allowed_target(url, rules)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "017700000001"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
        *("localhost", "LOCALHOST", "localhost.", "a.localhost"),
    ],
)
def test_loopback_is_refused_however_it_is_spelt(host: str) -> None:
    with pytest.raises(Forbidden):
        allowed_target(f"http://{host}/", WITHOUT_BLOCK)


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "169.254.0.1", "0.0.0.0", "[::]", "[fe80::1]", "[fd00:ec2::254]"),
        *("100.100.100.200", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[ff02::1]"),
        *("[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]"),
        *("[::169.254.169.254]", "[2001:0:a9fe:a9fe::]", "2852039166", "0xa9fea9fe"),
    ],
)
def test_link_local_and_metadata_are_refused_whatever_is_allowed(host: str) -> None:
    with pytest.raises(Forbidden):
        allowed_target(f"http://{host}/", OPEN)


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)  # fmt: skip
def test_private_addresses_are_allowed_unless_they_are_switched_off(address: str) -> None:
    assert why_forbidden(address, WITHOUT_BLOCK) is None
    why = why_forbidden(address, UrlRules(disable_private_ips=True))
    assert why is not None and "disable_private_ips" in why


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "172.32.0.1", "11.0.0.1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert why_forbidden(address, UrlRules(disable_private_ips=True)) is None


@pytest.mark.parametrize("address", ["fe80::1%eth0", "127.0.0.1", "::1", "not an address", ""])
def test_what_a_resolver_says_is_judged_too(address: str) -> None:
    assert why_forbidden(address, WITHOUT_BLOCK) is not None


def test_loopback_may_be_allowed_and_then_a_path_is_the_servers_own() -> None:
    assert allowed_target("http://localhost:9/x", OPEN).host == "localhost"
    target = allowed_target("/hook?x=1#y", OPEN)
    assert (target.is_own, target.path, target.url) == (True, "/hook?x=1", "/hook?x=1")
    with pytest.raises(Forbidden, match="disable_loopback"):
        allowed_target("/hook", WITHOUT_BLOCK)


def test_https_is_required_once_there_is_a_url_block() -> None:
    assert allowed_target("http://example.com/", WITHOUT_BLOCK).scheme == "http"
    with pytest.raises(Forbidden, match="require_https"):
        allowed_target("http://example.com/", UrlRules())


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("example.com", True),
        ("EXAMPLE.com", True),
        ("www.example.com", False),
        ("a.hooks.test", True),
        ("a.b.hooks.test", True),
        ("hooks.test", False),
        ("evilhooks.test", False),
        ("example.com.evil.test", False),
        ("93.184.216.34", False),
    ],
)
def test_domains_are_exact_or_a_wildcard(host: str, is_allowed: bool) -> None:
    rules = UrlRules(allowed_domains=["example.com", "*.hooks.test"])
    if is_allowed:
        allowed_target(f"https://{host}/", rules)
    else:
        with pytest.raises(Forbidden, match="allowed_domains"):
            allowed_target(f"https://{host}/", rules)


def test_ports_count_also_where_they_are_not_written() -> None:
    rules = UrlRules(allowed_ports=[443, 8443])
    allowed_target("https://example.com/", rules)
    allowed_target("https://example.com:8443/", rules)
    with pytest.raises(Forbidden, match="allowed_ports"):
        allowed_target("https://example.com:9443/", rules)


def test_a_url_has_a_greatest_length() -> None:
    url = "https://example.com/"
    allowed_target(url.ljust(2048, "x"), UrlRules())
    with pytest.raises(Forbidden, match="at most 2048"):
        allowed_target(url.ljust(2049, "x"), UrlRules())
    allowed_target(url.ljust(4096, "x"), WITHOUT_BLOCK)
    with pytest.raises(Forbidden, match="at most 4096"):
        allowed_target(url.ljust(4097, "x"), WITHOUT_BLOCK)
