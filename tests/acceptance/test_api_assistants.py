"""Assistants with the unmodified SDK (contract endpoints.md 3)."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError

from bedplate.testing.eventually import eventually

# The namespace of the contract.
NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
NOOP = str(uuid5(NAMESPACE, "noop"))


async def test_each_graph_has_its_system_assistant(client: LangGraphClient) -> None:
    found = await client.assistants.get(NOOP)
    assert (found["graph_id"], found["version"], found["name"]) == ("noop", 1, "noop")
    assert found["metadata"] == {"created_by": "system"}
    steps = await client.assistants.get(str(uuid5(NAMESPACE, "steps")))
    assert steps["description"] == "Twenty super-steps that leave a journal."
    agent = await client.assistants.get("agent")
    assert agent["assistant_id"] == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"


async def test_a_graph_name_is_accepted_in_the_path(client: LangGraphClient) -> None:
    assert (await client.assistants.get("noop"))["assistant_id"] == NOOP
    assert (await client.assistants.get_schemas("noop"))["graph_id"] == "noop"


async def test_create_get_update_delete(client: LangGraphClient) -> None:
    made = await client.assistants.create(
        "noop", config={"tags": ["a"]}, context={"x": 1}, metadata={"k": 1}, name="Mine",
        description="d",
    )  # fmt: skip
    assert made["version"] == 1
    assert made["config"] == {"tags": ["a"], "configurable": {"x": 1}}
    assert made["context"] == {"x": 1}
    changed = await client.assistants.update(
        made["assistant_id"], metadata={"l": 2}, context={"y": 2}
    )
    assert changed["version"] == 2
    assert changed["metadata"] == {"k": 1, "l": 2}
    assert changed["context"] == {"y": 2}
    assert changed["config"] == {"tags": ["a"], "configurable": {"y": 2}}
    assert (changed["name"], changed["description"]) == ("Mine", "d")
    assert await client.assistants.get(made["assistant_id"]) == changed
    await client.assistants.delete(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.assistants.get(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.assistants.delete(made["assistant_id"])


async def test_an_id_can_be_brought_along_once(client: LangGraphClient) -> None:
    assistant_id = str(uuid4())
    first = await client.assistants.create("noop", assistant_id=assistant_id, name="first")
    with pytest.raises(ConflictError):
        await client.assistants.create("noop", assistant_id=assistant_id)
    again = await client.assistants.create(
        "noop", assistant_id=assistant_id, name="second", if_exists="do_nothing"
    )
    assert again == first


async def test_an_unknown_graph_is_404_and_lists_the_known_ones(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError) as refused:
        await client.assistants.create("no-such-graph")
    assert "noop" in str(refused.value) and "steps" in str(refused.value)


async def test_configurable_and_context_together_are_400(client: LangGraphClient) -> None:
    with pytest.raises(BadRequestError):
        await client.assistants.create("noop", config={"configurable": {"a": 1}}, context={"b": 1})


async def test_keys_of_the_server_are_taken_out(client: LangGraphClient) -> None:
    made = await client.assistants.create(
        "noop", config={"configurable": {"a": 1, "langgraph_auth_user_id": "root"}}
    )
    assert made["config"]["configurable"] == {"a": 1}


async def test_search_filters_sorts_pages_and_selects(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    mark = str(uuid4())
    names = ["Alpha", "Beta", "Gamma"]
    for name in names:
        await client.assistants.create("noop", name=f"{name}-{mark}", metadata={"mark": mark})
    by_name = await client.assistants.search(
        metadata={"mark": mark}, sort_by="name", sort_order="asc"
    )
    assert [row["name"].split("-")[0] for row in by_name] == names
    assert [row["name"] for row in await client.assistants.search(name=f"BETA-{mark}")] == [
        f"Beta-{mark}"
    ]
    newest = await client.assistants.search(metadata={"mark": mark}, limit=1)
    assert newest[0]["name"].startswith("Gamma")
    page = await http.post(
        "/assistants/search",
        json={"metadata": {"mark": mark}, "limit": 2, "select": ["name", "version"]},
    )
    assert page.headers["x-pagination-next"] == "2"
    assert page.headers["x-pagination-total"] == "3"
    assert set(page.json()[0]) == {"name", "version"}
    last = await http.post(
        "/assistants/search", json={"metadata": {"mark": mark}, "limit": 2, "offset": 2}
    )
    assert "x-pagination-next" not in last.headers
    assert last.headers["x-pagination-total"] == "3"
    assert await client.assistants.count(metadata={"mark": mark}) == 3
    assert await client.assistants.count(metadata={"mark": mark}, graph_id="steps") == 0


async def test_graph_schemas_and_subgraphs_are_drawn(client: LangGraphClient) -> None:
    drawn = await client.assistants.get_graph("subgraphs")
    ids = {node["id"] for node in drawn["nodes"]}
    assert {"__start__", "__end__", "before", "child", "after"} <= ids
    expanded = await client.assistants.get_graph("subgraphs", xray=True)
    assert "child:inner_first" in {node["id"] for node in expanded["nodes"]}
    assert await client.assistants.get_graph("subgraphs", xray=1)
    schemas = await client.assistants.get_schemas("steps")
    assert "steps" in schemas["input_schema"]["properties"]
    assert set(await client.assistants.get_subgraphs("subgraphs")) == {"child"}
    assert await client.assistants.get_subgraphs("subgraphs", namespace="no-such") == {}
    assert await client.assistants.get_subgraphs("noop") == {}


@pytest.mark.parametrize("xray", ["0", "-1", "deep"])
async def test_a_senseless_depth_is_422(http: httpx.AsyncClient, xray: str) -> None:
    answer = await http.get("/assistants/noop/graph", params={"xray": xray})
    assert answer.status_code == 422 and "xray" in answer.json()["detail"]


async def test_deleting_with_threads_removes_the_threads(client: LangGraphClient) -> None:
    made = await client.assistants.create("noop")
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], made["assistant_id"], input={})
    await client.assistants.delete(made["assistant_id"], delete_threads=True)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread["thread_id"])


async def test_deleting_an_assistant_stops_its_runs(client: LangGraphClient) -> None:
    made = await client.assistants.create("sleeps")
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], made["assistant_id"], input={})
    await client.assistants.delete(made["assistant_id"])

    async def status() -> str:
        return (await client.runs.get(thread["thread_id"], run["run_id"]))["status"]

    await eventually(status, equals="interrupted", within_s=10)


async def test_a_run_takes_its_assistants_config_context_and_metadata(
    client: LangGraphClient,
) -> None:
    made = await client.assistants.create(
        "noop",
        config={"tags": ["below"], "configurable": {"a": 1, "b": 1}, "recursion_limit": 7},
        metadata={"from": "assistant", "thread": "assistant", "x": 1},
    )
    thread = await client.threads.create(metadata={"thread": "thread", "x": 1, "y": 1})
    run = await client.runs.create(
        thread["thread_id"],
        made["assistant_id"],
        input={},
        config={"tags": ["above"], "configurable": {"b": 2}, "metadata": {"x": 2, "y": 2}},
        metadata={"y": 3},
    )
    config = run["kwargs"]["config"]
    assert config["tags"] == ["below", "above"]
    assert config["recursion_limit"] == 7
    assert {key: config["configurable"][key] for key in "ab"} == {"a": 1, "b": 2}
    assert run["kwargs"]["context"] == {"a": 1, "b": 2}
    assert (run["metadata"]["from"], run["metadata"]["thread"]) == ("assistant", "thread")
    assert (run["metadata"]["x"], run["metadata"]["y"]) == (2, 3)
    assert run["metadata"]["assistant_id"] == made["assistant_id"]
    assert (await client.threads.get(thread["thread_id"]))["config"]["configurable"]["b"] == 2


async def test_a_changed_assistant_counts_for_the_next_run(client: LangGraphClient) -> None:
    made = await client.assistants.create("factory_config", config={"configurable": {"flavour": 1}})
    first = await client.runs.wait(None, made["assistant_id"], input={})
    await client.assistants.update(made["assistant_id"], config={"configurable": {"flavour": 2}})
    second = await client.runs.wait(None, made["assistant_id"], input={})
    assert first["value"] == {"flavour": 1}
    assert second["value"] == {"flavour": 2}


async def test_every_version_is_kept_and_any_can_be_used_again(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    made = await client.assistants.create(
        "noop", name="One", description="first", context={"n": 1}, metadata={"k": 1},
        config={"tags": ["one"]},
    )  # fmt: skip
    assistant_id = made["assistant_id"]
    second = await client.assistants.update(
        assistant_id, graph_id="tokens", name="Two", description="second", context={"n": 2},
        metadata={"k": 2, "l": 2},
    )  # fmt: skip
    versions = await client.assistants.get_versions(assistant_id)
    assert [row["version"] for row in versions] == [2, 1]
    for version, row in zip(versions, (second, made), strict=True):
        assert {**version, "created_at": 0, "updated_at": 0} == {
            **row, "created_at": 0, "updated_at": 0,
        }  # fmt: skip

    back = await client.assistants.set_latest(assistant_id, 1)
    for field in ("graph_id", "name", "description", "config", "context", "metadata", "version"):
        assert back[field] == made[field], field
    assert await client.assistants.get(assistant_id) == back
    third = await client.assistants.update(assistant_id, metadata={"m": 3})
    assert (third["version"], third["metadata"]) == (3, {"k": 1, "m": 3})
    assert (third["name"], third["context"]) == ("One", {"n": 1})

    page = await http.post(f"/assistants/{assistant_id}/versions", json={"limit": 2})
    assert [row["version"] for row in page.json()] == [3, 2]
    assert page.headers["x-pagination-next"] == "2"
    rest = await client.assistants.get_versions(assistant_id, limit=2, offset=2)
    assert [row["version"] for row in rest] == [1]
    found = await client.assistants.get_versions(assistant_id, metadata={"l": 2})
    assert [row["version"] for row in found] == [2]
    assert await client.assistants.get_versions(assistant_id, metadata={"l": 9}) == []


@pytest.mark.parametrize("nothing", [{}, {"name": None}, {"metadata": {}}, {"unknown": 1}])
async def test_an_update_that_asks_for_nothing_changes_nothing(
    client: LangGraphClient, http: httpx.AsyncClient, nothing: dict[str, Any]
) -> None:
    made = await client.assistants.create("noop", description="kept")
    path = f"/assistants/{made['assistant_id']}"
    answer = await http.patch(path, json=nothing)
    assert (answer.status_code, answer.json()) == (200, made)
    assert len(await client.assistants.get_versions(made["assistant_id"])) == 1
    assert (await http.patch(f"/assistants/{uuid4()}", json=nothing)).status_code == 404
    emptied = (await http.patch(path, json={"description": None, "config": {}})).json()
    assert (emptied["version"], emptied["description"]) == (2, None)


async def test_a_version_that_is_not_there_is_404(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    made = await client.assistants.create("noop")
    with pytest.raises(NotFoundError):
        await client.assistants.set_latest(made["assistant_id"], 2)
    await client.assistants.delete(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.assistants.get_versions(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.assistants.set_latest(made["assistant_id"], 1)
    for version in (0, -1, "1", None, 2**31, 1.5, True):
        answer = await http.post(f"/assistants/{NOOP}/latest", json={"version": version})
        assert answer.status_code == 422, version
        assert "version" in answer.json()["detail"]


async def test_a_run_uses_the_version_that_is_in_use(client: LangGraphClient) -> None:
    made = await client.assistants.create("noop", context={"n": 1})
    await client.assistants.update(made["assistant_id"], context={"n": 2})
    await client.assistants.set_latest(made["assistant_id"], 1)
    run = await client.runs.create(None, made["assistant_id"], input={})
    assert run["kwargs"]["context"] == {"n": 1}
