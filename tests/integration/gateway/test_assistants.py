"""Assistants as executors and other gateways see them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from pydantic_core import from_json

from bedplate.kernel.errors import NotFound
from bedplate_gateway.access.access import FREE
from bedplate_gateway.assistant_forms import AssistantUpdate, AssistantVersion, AssistantVersions
from bedplate_gateway.assistants import Assistants
from bedplate_gateway.errors import Unprocessable
from bedplate_gateway.ids import system_assistant_id
from bedplate_proto.threads import GatewayPoke, GraphDescription, RegisterGraphs

Parts = Any


def _order(graph_id: str, *, name: str, description: str | None = None) -> RegisterGraphs:
    graph = GraphDescription(graph_id=graph_id, name=name, description=description)
    return RegisterGraphs(tenant="default", graphs=[graph])


async def test_a_graph_registered_twice_has_one_assistant_with_the_newest_name(
    parts: Parts,
) -> None:
    graph_id = f"g{uuid4().hex}"
    await parts.assistants.register(_order(graph_id, name="old"))
    await parts.assistants.register(_order(graph_id, name="new", description="d"))
    row = from_json(await parts.assistants.get(graph_id))
    assert (row["name"], row["description"], row["version"]) == ("new", "d", 1)
    assert row["metadata"] == {"created_by": "system"}


async def test_registering_again_keeps_what_a_user_set(parts: Parts) -> None:
    graph_id = f"g{uuid4().hex}"
    await parts.assistants.register(_order(graph_id, name="g"))
    await parts.assistants.update(
        graph_id,
        AssistantUpdate.model_validate({"name": "mine", "context": {"k": 1}}),
        by=FREE,
    )
    await parts.assistants.register(_order(graph_id, name="g2"))
    row = from_json(await parts.assistants.get(graph_id))
    assert (row["name"], row["context"], row["version"]) == ("mine", {"k": 1}, 2)


async def test_a_deleted_system_assistant_comes_back_with_the_next_start(parts: Parts) -> None:
    graph_id = f"g{uuid4().hex}"
    await parts.assistants.register(_order(graph_id, name="g"))
    # A scheduler would remove its crons first.
    await parts.pool.execute("DELETE FROM assistants WHERE graph_id = $1", graph_id)
    await parts.assistants.on_poke(GatewayPoke(what="assistants"))
    with pytest.raises(Unprocessable):
        await parts.assistants.find(graph_id)
    with pytest.raises(NotFound):
        await parts.assistants.get(graph_id)
    await parts.assistants.register(_order(graph_id, name="g"))
    assert (await parts.assistants.find(graph_id)).graph_id == graph_id


async def test_another_gateways_change_is_seen_after_its_poke(parts: Parts) -> None:
    graph_id = f"g{uuid4().hex}"
    await parts.assistants.register(_order(graph_id, name="g"))
    other = Assistants(parts.rows, parts.bus, tenant="default")
    assert (await other.find(graph_id)).setup.context == {}
    await parts.assistants.update(
        graph_id, AssistantUpdate.model_validate({"context": {"k": 1}}), by=FREE
    )
    await other.on_poke(GatewayPoke(what="assistants"))
    assert (await other.find(graph_id)).setup.context == {"k": 1}


async def test_tenants_do_not_see_each_other(parts: Parts) -> None:
    graph_id = f"g{uuid4().hex}"
    await parts.assistants.register(_order(graph_id, name="g"))
    stranger = Assistants(parts.rows, parts.bus, tenant="other")
    with pytest.raises(NotFound):
        await stranger.get(str(system_assistant_id(graph_id)))
    await stranger.register(_order(graph_id, name="not mine"))
    assert from_json(await parts.assistants.get(graph_id))["name"] == "g"


async def test_concurrent_updates_get_versions_of_their_own(parts: Parts) -> None:
    graph_id = f"g{uuid4().hex}"
    await parts.assistants.register(_order(graph_id, name="g"))
    updates = [AssistantUpdate.model_validate({"context": {"n": n}}) for n in range(8)]
    rows = await asyncio.gather(
        *(parts.assistants.update(graph_id, one, by=FREE) for one in updates)
    )
    assert sorted(from_json(row)["version"] for row in rows) == list(range(2, 10))
    page = await parts.assistants.versions(graph_id, AssistantVersions(limit=100))
    kept = [from_json(row) for row in page.rows]
    assert [row["version"] for row in kept] == list(range(9, 0, -1))
    told = {row["version"]: row["context"] for row in map(from_json, rows)}
    assert {row["version"]: row["context"] for row in kept if row["version"] > 1} == told


async def test_registering_again_renames_the_first_version_only_while_it_is_the_only_one(
    parts: Parts,
) -> None:
    graph_id = f"g{uuid4().hex}"
    await parts.assistants.register(_order(graph_id, name="old"))
    await parts.assistants.register(_order(graph_id, name="new"))
    page = await parts.assistants.versions(graph_id, AssistantVersions())
    assert [from_json(row)["name"] for row in page.rows] == ["new"]
    await parts.assistants.update(
        graph_id, AssistantUpdate.model_validate({"name": "mine"}), by=FREE
    )
    await parts.assistants.use_version(graph_id, AssistantVersion(version=1))
    await parts.assistants.register(_order(graph_id, name="newer"))
    assert from_json(await parts.assistants.get(graph_id))["name"] == "new"
