"""The `webhooks` block: where it is read from, its templates, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bedplate.kernel.errors import Refused
from bedplate.webhooks.block import WebhooksBlock, given_block
from bedplate.webhooks.rules import WITHOUT_BLOCK


@pytest.fixture
def project(tmp_path: Path) -> Any:
    def written(**blocks: Any) -> Path:
        file = tmp_path / "langgraph.json"
        file.write_text(json.dumps({"graphs": {"a": "./none.py:a"}, **blocks}))
        return file

    return written


def test_without_a_block_the_lenient_defaults_count(project: Any) -> None:
    for file in (None, project()):
        given = given_block(file, {})
        assert given.block.url == WITHOUT_BLOCK and given.is_enabled
        assert given.block.allowed_fields is None and given.block.headers == {}


def test_with_a_url_block_the_strict_ones_do(project: Any) -> None:
    rules = given_block(project(webhooks={"url": {}}), {}).block.url
    assert rules.require_https and rules.disable_loopback and rules.max_url_length == 2048


def test_a_variable_wins_over_the_file(project: Any) -> None:
    file = project(webhooks={"allowed_fields": ["run_id"]})
    assert given_block(file, {}).block.allowed_fields == ["run_id"]
    environ = {"LANGGRAPH_WEBHOOKS": '{"allowed_fields": ["status"]}'}
    assert given_block(file, environ).block.allowed_fields == ["status"]


def test_webhooks_can_be_switched_off(project: Any) -> None:
    assert not given_block(project(http={"disable_webhooks": True}), {}).is_enabled
    assert not given_block(None, {"LANGGRAPH_HTTP": '{"disable_webhooks": true}'}).is_enabled


def test_headers_are_filled_in_from_the_process_and_the_projects_env(project: Any) -> None:
    headers = {"X-Key": "a ${{ env.LG_WEBHOOK_ONE }}-${{env.LG_WEBHOOK_TWO}}", "X-Plain": "$1"}
    file = project(webhooks={"headers": headers}, env={"LG_WEBHOOK_ONE": "1", "LG_WEBHOOK_TWO": 2})
    given = given_block(file, {"LG_WEBHOOK_TWO": "two"})
    assert given.block.filled_headers(given.environment) == {"X-Key": "a 1-two", "X-Plain": "$1"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${{ env.HOME }}", "does not begin with LG_WEBHOOK_"),
        ("${{ env.DATABASE_URI }}", "does not begin with LG_WEBHOOK_"),
        ("${{ env.LG_WEBHOOK_NONE }}", "is not set"),
        ("${{ LG_WEBHOOK_A }}", "is no template"),
        ("${{ env.LG_WEBHOOK_A | upper }}", "is no template"),
        ("${{}}", "is no template"),
        ("${{ env.LG_WEBHOOK_LINES }}", "printable ASCII"),
        ("grüße", "printable ASCII"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused_with_its_header(
    text: str, why: str
) -> None:
    block = WebhooksBlock(headers={"X-Key": text})
    environment = {
        "HOME": "x", "DATABASE_URI": "x", "LG_WEBHOOK_A": "a", "LG_WEBHOOK_LINES": "a\r\nHost: b",
    }  # fmt: skip
    with pytest.raises(Refused, match=why) as refused:
        block.filled_headers(environment)
    assert "webhooks.headers.X-Key" in refused.value.message


def test_the_prefix_of_variables_may_be_another() -> None:
    block = WebhooksBlock(env_prefix="HOOK_", headers={"X": "${{ env.HOOK_A }}"})
    assert block.filled_headers({"HOOK_A": "a"}) == {"X": "a"}


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"url": {"allowed_domain": ["example.com"]}}, "webhooks.url.allowed_domain"),
        ({"urls": {}}, "webhooks.urls"),
        ({"env_prefix": ""}, "webhooks.env_prefix"),
        ({"headers": {"bad name": "x"}}, "webhooks.headers"),
        ({"headers": {"Webhook-Signature": "x"}}, "webhooks.headers"),
        ({"headers": {"Host": "x"}}, "webhooks.headers"),
        ({"url": {"allowed_ports": [0]}}, "webhooks.url.allowed_ports"),
        ({"url": {"allowed_domains": ["https://x"]}}, "webhooks.url.allowed_domains"),
        ({"url": {"max_url_length": 0}}, "webhooks.url.max_url_length"),
        ({"allowed_fields": "status"}, "webhooks.allowed_fields"),
    ],
)
def test_a_rule_that_is_misspelt_is_refused_and_named(
    project: Any, block: dict[str, Any], key: str
) -> None:
    with pytest.raises(Refused) as refused:
        given_block(project(webhooks=block), {})
    assert refused.value.message.startswith(key)


def test_a_variable_that_is_no_json_is_refused() -> None:
    with pytest.raises(Refused, match="LANGGRAPH_WEBHOOKS is not valid JSON"):
        given_block(None, {"LANGGRAPH_WEBHOOKS": "{"})
