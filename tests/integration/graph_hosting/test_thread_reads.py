from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.types import Command, interrupt

from bedplate.graphs import drawing, editing, introspection
from bedplate.graphs.introspection import thread_config
from bedplate.graphs.modes import RunStream, stream_graph
from bedplate.kernel.errors import Refused

STATE_KEYS = {
    "values",
    "next",
    "tasks",
    "metadata",
    "created_at",
    "checkpoint",
    "parent_checkpoint",
    "interrupts",
    "checkpoint_id",
    "parent_checkpoint_id",
}
TASK_KEYS = {"id", "name", "path", "error", "interrupts", "checkpoint", "state", "result"}


async def finished(graph: Any, given: Any, config: Any, **options: Any) -> RunStream:
    stream = stream_graph(graph, given, config, modes=["values"], **options)
    async for _ in stream:
        pass
    return stream


async def state(graph: Any, thread_id: str, **options: Any) -> Any:
    subgraphs = options.pop("subgraphs", False)
    config = thread_config(thread_id, **options)
    return json.loads(await introspection.thread_state(graph, config, subgraphs=subgraphs))


async def history(graph: Any, thread_id: str, **options: Any) -> list[Any]:
    config = thread_config(thread_id, checkpoint=options.pop("checkpoint", None))
    return json.loads(await introspection.thread_history(graph, config, **options))


async def test_the_state_of_a_finished_run(graphs: SimpleNamespace) -> None:
    graph, config = graphs.steps(), graphs.config(graph_id="g", run_id="r")
    config["metadata"] = {"run_attempt": 1}
    thread_id = config["configurable"]["thread_id"]
    await finished(graph, {"note": "x"}, config)
    shown = await state(graph, thread_id)
    assert shown.keys() == STATE_KEYS
    assert shown["values"] == {"note": "x", "log": ["one:x", "two:x", "three:x"]}
    assert (shown["next"], shown["tasks"], shown["interrupts"]) == ([], [], [])
    assert (shown["metadata"]["source"], shown["metadata"]["step"]) == ("loop", 3)
    about = {"run_id": "r", "graph_id": "g", "run_attempt": 1, "thread_id": thread_id}
    assert shown["metadata"] == shown["metadata"] | about
    assert shown["checkpoint"] == {
        "thread_id": thread_id,
        "checkpoint_ns": "",
        "checkpoint_id": shown["checkpoint_id"],
    }
    assert shown["parent_checkpoint"]["checkpoint_id"] == shown["parent_checkpoint_id"]
    assert shown["created_at"].endswith("+00:00")


async def test_an_empty_thread_and_an_unknown_checkpoint_have_an_empty_state(
    graphs: SimpleNamespace,
) -> None:
    graph, config = graphs.steps(), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    expected = {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": {},
        "created_at": None,
        "checkpoint": {"thread_id": thread_id, "checkpoint_ns": ""},
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }
    assert await state(graph, thread_id) == expected
    await finished(graph, {"note": "x"}, config)
    assert await state(graph, thread_id, checkpoint_id=str(uuid.uuid4())) == expected


async def test_a_waiting_thread_shows_its_task_and_interrupt(graphs: SimpleNamespace) -> None:
    graph, config = graphs.approval(), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    stream = await finished(graph, {"topic": "t"}, config)
    shown = await state(graph, thread_id)
    (task,) = shown["tasks"]
    assert shown["next"] == ["ask"]
    assert task.keys() == TASK_KEYS
    (pending,) = task["interrupts"]
    assert pending == {
        "id": stream.interrupts[0].id,
        "value": {"question": "approve t?"},
        "response_schema": None,
    }
    assert shown["interrupts"] == [pending]
    assert (task["name"], task["error"], task["checkpoint"], task["state"]) == (
        "ask",
        None,
        None,
        None,
    )
    row = await introspection.settled_after(stream, graph, thread_config(thread_id))
    assert (row.status, row.next, row.error) == ("interrupted", ("ask",), None)
    assert json.loads(row.interrupts) == {task["id"]: [pending]}
    assert row.values == b'{"topic":"t"}'
    done = await finished(graph, Command(resume="yes"), graphs.config(thread_id))
    row = await introspection.settled_after(done, graph, thread_config(thread_id))
    assert (row.status, row.next, row.interrupts) == ("idle", (), b"{}")
    assert row == await introspection.settled(graph, thread_config(thread_id))


async def test_a_breakpoint_a_failure_and_a_stop_between_steps_are_read_from_the_checkpoint(
    graphs: SimpleNamespace,
) -> None:
    graph, config = graphs.steps(), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    stream = await finished(graph, {"note": "x"}, config, interrupt_before=["two"])
    row = await introspection.settled_after(stream, graph, thread_config(thread_id))
    assert (row.status, row.next, row.interrupts) == ("interrupted", ("two",), b"{}")

    def boom(_: Any) -> Any:
        raise ValueError("boom")

    failing, config = graphs.nested(boom), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    stream = stream_graph(failing, {"topic": "t"}, config)
    with pytest.raises(ValueError, match="boom"):
        async for _ in stream:
            pass
    row = await introspection.settled_after(stream, failing, thread_config(thread_id))
    assert (row.next, row.error) == (("child",), "ValueError('boom')")
    shown = await state(failing, thread_id)
    assert shown["next"] == ["child"]
    assert shown["tasks"][0]["error"] == "ValueError('boom')"


async def test_a_waiting_subgraph_is_shown_nested_if_asked(graphs: SimpleNamespace) -> None:
    graph, config = graphs.nested(lambda s: {"answer": interrupt("sure?")}), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    await finished(graph, {"topic": "t"}, config)
    (task,) = (await state(graph, thread_id))["tasks"]
    assert task["checkpoint"]["checkpoint_ns"] == f"child:{task['id']}"
    assert task["state"] is None
    (task,) = (await state(graph, thread_id, subgraphs=True))["tasks"]
    assert task["state"].keys() == STATE_KEYS
    assert task["state"]["next"] == ["inner"]
    assert task["state"]["checkpoint"]["checkpoint_ns"] == task["checkpoint"]["checkpoint_ns"]
    inner = await state(graph, thread_id, checkpoint=task["checkpoint"])
    assert inner["values"] == {"topic": "t"}
    newest = {"checkpoint_ns": task["checkpoint"]["checkpoint_ns"]}
    (row,) = await history(graph, thread_id, checkpoint=newest)
    assert row["next"] == ["inner"]
    edit = thread_config(thread_id, checkpoint=task["checkpoint"])
    await editing.update_state(graph, edit, {"topic": "changed"})
    inner = await state(graph, thread_id, checkpoint=newest)
    assert inner["values"] == {"topic": "changed"}


async def test_history_is_newest_first_and_takes_before_in_three_spellings(
    graphs: SimpleNamespace,
) -> None:
    graph, config = graphs.steps(), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    await finished(graph, {"note": "x"}, config)
    rows = await history(graph, thread_id, limit=10)
    assert [row["metadata"]["step"] for row in rows] == [3, 2, 1, 0, -1]
    assert len(await history(graph, thread_id)) == 1
    at = rows[2]["checkpoint_id"]
    for before in (at, rows[2]["checkpoint"], {"configurable": {"checkpoint_id": at}}):
        assert await history(graph, thread_id, limit=10, before=before) == rows[3:]
    by_step = await history(graph, thread_id, limit=10, metadata={"step": 1})
    assert by_step == rows[2:3]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"limit": 0}, "'limit'"), ({"limit": 1001}, "'limit'"), ({"before": "x"}, "'before'")],
)
async def test_wrong_arguments_of_history_are_named(
    graphs: SimpleNamespace, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        await history(graphs.steps(), str(uuid.uuid4()), **options)


def test_a_checkpoint_id_must_be_a_uuid() -> None:
    with pytest.raises(Refused, match="'checkpoint_id' must be the UUID"):
        thread_config("t", checkpoint_id="no")
    with pytest.raises(Refused, match=r"'checkpoint\.checkpoint_ns' must be a text"):
        thread_config("t", checkpoint={"checkpoint_ns": 3})


async def test_update_state_writes_as_a_node_and_can_fork_the_past(graphs: SimpleNamespace) -> None:
    graph, config = graphs.steps(), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    await finished(graph, {"note": "x"}, config)
    at = (await history(graph, thread_id, limit=10))[2]
    answer = json.loads(
        await editing.update_state(
            graph, thread_config(thread_id), {"log": ["mine"], "unknown": 1}, as_node="one"
        )
    )
    assert answer.keys() == {"checkpoint", "configurable", "checkpoint_id"}
    shown = await state(graph, thread_id)
    assert shown["checkpoint"] == answer["checkpoint"]
    assert shown["checkpoint_id"] == answer["checkpoint_id"]
    assert shown["values"]["log"][-1] == "mine"
    assert "unknown" not in shown["values"]
    assert (shown["next"], shown["metadata"]["source"]) == (["two"], "update")
    row = await introspection.settled(graph, thread_config(thread_id))
    assert row.status == "interrupted"
    fork = thread_config(thread_id, checkpoint=at["checkpoint"])
    await editing.update_state(graph, fork, {"note": "forked"})
    shown = await state(graph, thread_id)
    assert shown["parent_checkpoint_id"] == at["checkpoint_id"]
    assert shown["values"] == {**at["values"], "note": "forked"}


async def test_nothing_as_the_end_drops_the_interrupt(graphs: SimpleNamespace) -> None:
    graph, config = graphs.approval(), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    await finished(graph, {"topic": "t"}, config)
    await editing.update_state(graph, thread_config(thread_id), None, as_node="__end__")
    row = await introspection.settled(graph, thread_config(thread_id))
    assert (row.status, row.interrupts) == ("idle", b"{}")


async def test_an_update_that_cannot_be_is_refused_with_the_librarys_text(
    graphs: SimpleNamespace,
) -> None:
    graph, echo = graphs.steps(), graphs.echo()
    where = thread_config(str(uuid.uuid4()))
    with pytest.raises(Refused, match="Node nowhere does not exist"):
        await editing.update_state(graph, where, {}, as_node="nowhere")
    with pytest.raises(Refused, match="message type"):
        await editing.update_state(echo, where, {"messages": [3]}, as_node="model")
    with pytest.raises(Refused, match="not found"):
        inside = thread_config(str(uuid.uuid4()), checkpoint={"checkpoint_ns": "gone:1"})
        await editing.update_state(graph, inside, {"note": "x"})


async def test_a_message_with_a_known_id_replaces_it(graphs: SimpleNamespace) -> None:
    graph, config = graphs.echo(), graphs.config()
    thread_id = config["configurable"]["thread_id"]
    await finished(graph, {"messages": [{"role": "user", "content": "a", "id": "1"}]}, config)
    mine = {"role": "user", "content": "b", "id": "1"}
    changed = {"messages": [mine, AIMessage("c").model_dump()]}
    await editing.update_state(graph, thread_config(thread_id), changed, as_node="model")
    messages = (await state(graph, thread_id))["values"]["messages"]
    assert [message["content"] for message in messages] == ["b", "Echo: a", "c"]


async def test_bulk_updates_make_one_checkpoint_per_superstep(graphs: SimpleNamespace) -> None:
    graph, thread_id = graphs.steps(), str(uuid.uuid4())
    supersteps = [
        {"updates": [{"values": {"note": "x"}, "as_node": "__input__"}]},
        {"updates": [{"values": {"note": "x"}, "as_node": "__start__"}]},
        {"updates": [{"command": {"update": {"log": ["c"]}}, "as_node": "one"}]},
    ]
    answer = json.loads(await editing.bulk_update(graph, thread_config(thread_id), supersteps))
    shown = await state(graph, thread_id)
    assert shown["checkpoint_id"] == answer["checkpoint_id"]
    assert (shown["values"], shown["next"]) == ({"note": "x", "log": ["c"]}, ["two"])
    assert len(await history(graph, thread_id, limit=10)) == 3


@pytest.mark.parametrize(
    ("supersteps", "words"),
    [
        ([], "'supersteps'"),
        ([{"updates": []}], r"supersteps\[0\]\.updates"),
        ([{"updates": [{"values": {}}]}], r"supersteps\[0\]\.updates\[0\]\.as_node"),
        ([{"updates": [{"values": {}, "as_node": "x"}]}], "Node x does not exist"),
        (
            [{"updates": [{"command": {"goto": 3}, "as_node": "one"}]}],
            r"updates\[0\]\.command\.goto",
        ),
    ],
)
async def test_a_wrong_superstep_is_named(
    graphs: SimpleNamespace, supersteps: list[Any], words: str
) -> None:
    where = thread_config(str(uuid.uuid4()))
    with pytest.raises(Refused, match=words):
        await editing.bulk_update(graphs.steps(), where, supersteps)


async def test_a_drawing_expands_subgraphs_with_xray(graphs: SimpleNamespace) -> None:
    graph = graphs.nested(lambda state: {})
    plain = json.loads(await drawing.drawing(graph))
    assert [node["id"] for node in plain["nodes"]] == ["__start__", "child", "__end__"]
    assert plain["edges"][0] == {"source": "__start__", "target": "child"}
    for xray in (True, 1):
        inside = json.loads(await drawing.drawing(graph, xray=xray))
        assert "child:inner" in [node["id"] for node in inside["nodes"]]
    for xray in (0, -1):
        with pytest.raises(Refused, match="'xray'"):
            await drawing.drawing(graph, xray=xray)


async def test_schemas_are_json_schemas_or_null(graphs: SimpleNamespace) -> None:
    shown = json.loads(drawing.schemas(graphs.steps(), "steps"))
    assert shown.keys() == {
        "graph_id",
        "input_schema",
        "output_schema",
        "state_schema",
        "config_schema",
        "context_schema",
    }
    assert shown["graph_id"] == "steps"
    for key in ("input_schema", "output_schema", "state_schema"):
        assert shown[key]["properties"].keys() == {"note", "log"}
    assert shown["config_schema"] is None
    messages = json.loads(drawing.schemas(graphs.echo(), "echo"))["input_schema"]
    assert "messages" in messages["properties"]


async def test_subgraphs_are_listed_by_namespace(graphs: SimpleNamespace) -> None:
    graph = graphs.nested(lambda state: {})
    shown = json.loads(await drawing.subgraphs(graph))
    assert shown.keys() == {"child"}
    assert "topic" in shown["child"]["input_schema"]["properties"]
    assert json.loads(await drawing.subgraphs(graph, namespace="child")) == shown
    assert json.loads(await drawing.subgraphs(graph, namespace="gone")) == {}
    assert json.loads(await drawing.subgraphs(graphs.steps(), recurse=True)) == {}
