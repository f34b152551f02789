"""The `http` block: whose headers are passed on, to whom the API answers, and what is switched
off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bedplate.graphs.mount import mount_prefix, prefix_of
from bedplate.kernel.errors import Refused
from bedplate_gateway.http_block import (
    NEVER,
    HeaderBlock,
    HeaderRule,
    cors_options,
    http_block,
)


def _picked(names: list[str], **block: Any) -> set[str]:
    rule = HeaderRule(HeaderBlock(**block))
    return set(rule.picked([(name.encode(), b"v") for name in names]))


@pytest.mark.parametrize(
    ("block", "picked"),
    [
        ({}, set()),
        ({"includes": ["x-tenant"]}, {"x-tenant"}),
        ({"includes": ["X-*"]}, {"x-tenant", "x-trace"}),
        ({"includes": ["*"], "excludes": ["x-trace"]}, {"x-tenant", "accept"}),
        ({"includes": ["x-t*e"]}, {"x-trace"}),
        ({"excludes": ["x-trace"]}, set()),
        ({"includes": ["x.tenant"]}, set()),
    ],
)
def test_headers_are_picked_by_name(block: dict[str, Any], picked: set[str]) -> None:
    assert _picked(["X-Tenant", "x-trace", "accept"], **block) == picked


def test_secrets_and_what_the_server_says_are_never_picked() -> None:
    ours = ["user_id", "thread_id", "checkpoint_id", "langgraph_auth_user_id", "__pregel_resuming"]
    assert _picked([*NEVER, *ours, "Authorization"], includes=["*", *NEVER, *ours]) == set()


@pytest.mark.parametrize(
    ("http", "config", "origins", "named"),
    [
        ({}, None, None, ["*"]),
        ({}, None, ["https://a"], ["https://a"]),
        ({"cors": {"allow_origins": ["https://b"]}}, None, None, ["https://b"]),
        ({"cors": {"allow_origins": ["https://b"]}}, None, ["https://a"], ["https://a"]),
        ({"cors": {"allow_origins": ["https://b"]}}, {"max_age": 1}, None, ["*"]),
        ({}, {"allow_origins": ["https://c"]}, ["https://a"], ["https://c"]),
        ({"cors": {"allow_origin_regex": "https://.*"}}, None, None, []),
    ],
)
def test_variables_win_over_the_file(
    http: Any, config: Any, origins: list[str] | None, named: list[str]
) -> None:
    options = cors_options(http_block(http), config, origins, private_network=False)
    assert options["allow_origins"] == named
    assert "allow_private_network" not in options
    open_ = cors_options(http_block({}), None, None, private_network=True)
    assert open_["allow_private_network"] is True


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"mount_prefix": "api"}, "http.mount_prefix"),
        ({"mount_prefix": "/a b"}, "http.mount_prefix"),
        ({"middleware_order": "last"}, "http.middleware_order"),
        ({"cors": {"allow_origin": ["*"]}}, "http.cors.allow_origin"),
        ({"configurable_headers": {"include": ["x"]}}, "http.configurable_headers.include"),
        ({"disable_store": "perhaps"}, "http.disable_store"),
        ([], "http"),
    ],
)
def test_what_is_wrong_is_named(given: Any, named: str) -> None:
    if given == []:
        assert http_block(given).app is None
        return
    with pytest.raises(Refused) as refused:
        http_block(given)
    assert refused.value.message.startswith(f"{named}: ")


def test_a_prefix_is_a_path_without_a_slash_at_its_end(tmp_path: Path) -> None:
    assert http_block({"mount_prefix": "/api/"}).mount_prefix == "/api"
    assert prefix_of("") == prefix_of("/") == ""
    with pytest.raises(Refused, match="MOUNT_PREFIX"):
        prefix_of("api")
    file = tmp_path / "langgraph.json"
    file.write_text('{"http": {"mount_prefix": "/api"}}')
    assert mount_prefix(file, {}) == "/api"
    assert mount_prefix(file, {"MOUNT_PREFIX": "/v2"}) == "/v2"
    assert mount_prefix(None, {}) == ""


def test_what_is_switched_off_is_known_by_its_heading() -> None:
    block = http_block({"disable_runs": True, "disable_event_streaming": True})
    served = ("Assistants", "Threads", "Runs", "Crons", "Store", "Event streaming", "System")
    assert [tag for tag in served if not block.serves(tag)] == ["Runs", "Crons", "Event streaming"]
