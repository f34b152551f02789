"""Denied by default: every route and socket of the gateway names the rule it is asked by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph_sdk.auth import Auth

from bedplate_gateway.access import rules
from bedplate_gateway.access.rules import Rule
from bedplate_gateway.app import build
from bedplate_gateway.http.server import HttpServer

# What answers without a token, so that probes and pages need none.
OPEN_PATHS = {"/ok", "/metrics", "/docs", "/openapi.json"}
# What a caller may do who is let in at all; the commands ask for what each of them does.
SIGNED_IN_PATHS = {"/", "/info", "/threads/{thread_id}/commands"}


@pytest.fixture(scope="module")
def routes() -> list[Any]:
    """All routes of the app as it is built, sockets among them."""
    service = asyncio.run(build())
    (server,) = [each for each in service.resources if isinstance(each, HttpServer)]
    app: Any = server.app
    return list(app.routes)


def _known() -> Iterator[Rule]:
    for value in vars(rules).values():
        if isinstance(value, Rule):
            yield value


def test_every_route_and_socket_names_a_rule(routes: list[Any]) -> None:
    assert len(routes) >= 50
    unnamed = [route.path for route in routes if getattr(route, "rule", None) is None]
    assert not unnamed, f"name a rule (bedplate_gateway.access.rules) for {unnamed}"


def test_only_probes_and_pages_need_no_token(routes: list[Any]) -> None:
    assert {route.path for route in routes if route.rule == rules.OPEN} == OPEN_PATHS
    assert {route.path for route in routes if route.rule == rules.SIGNED_IN} == SIGNED_IN_PATHS


def test_every_rule_is_one_that_handlers_can_be_registered_for() -> None:
    auth = Auth()
    for rule in _known():
        if rule in (rules.OPEN, rules.SIGNED_IN):
            continue
        registered = getattr(getattr(auth.on, rule.resource), rule.action)
        assert callable(registered), rule
