"""Agents that use the server they run on: `get_client()` without a URL, `RemoteGraph`, and the
async sub-agents of `deepagents`."""

from __future__ import annotations

from typing import Any

from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk.client import LangGraphClient

from bedplate.testing.eventually import eventually

PATIENCE_S = 30
GATE = "until-the-parent-is-idle"
# A script within a script: its fence is written so that the outer one does not end there.
FENCE = "\\u0060" * 3
TASK = f'{FENCE}stub [{{\\"text\\": \\"hello\\", \\"wait_for\\": \\"{GATE}\\"}}]{FENCE}'
DELEGATION = """Delegate ```stub [
  {"tool_calls": [{"name": "start_async_task",
                   "args": {"description": "TASK", "subagent_type": "worker"}}]},
  {"text": "It is on its way."}
]```""".replace("TASK", TASK)


async def test_a_node_reaches_the_server_it_runs_on(client: LangGraphClient) -> None:
    values: Any = await client.runs.wait(None, "calls_back", input={})
    made = await client.threads.get(values["thread_id"])
    assert made["metadata"]["made_by"] == "inside"
    assert made["status"] == "idle"
    assert values["modes"][0] == "metadata"
    assert {"values", "updates"} <= set(values["modes"])
    assert values["answer"] == made["values"]


async def test_a_run_does_not_wait_for_itself(client: LangGraphClient) -> None:
    """A run of the same thread would begin when this one is over."""
    thread_id = (await client.threads.create())["thread_id"]
    values: Any = await client.runs.wait(thread_id, "waits_for_itself", input={})
    assert values["answer"]["refused"] == 409
    assert len(await client.runs.list(thread_id)) == 1


async def test_a_graph_of_the_server_is_a_part_of_another(client: LangGraphClient) -> None:
    said = {"role": "user", "content": "hi"}
    values: Any = await client.runs.wait(None, "remote", input={"messages": [said]})
    alone: Any = await client.runs.wait(None, "messages", input={"messages": [said]})
    assert [m["content"] for m in values["messages"]] == [m["content"] for m in alone["messages"]]


async def test_a_remote_graph_does_what_a_local_one_does(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    graph = RemoteGraph("approval", client=client)
    config: Any = {"configurable": {"thread_id": thread_id}}

    parts = [part async for part in graph.astream({}, config, stream_mode="updates")]
    assert "__interrupt__" in parts[-1]
    waiting = await graph.aget_state(config)
    assert waiting.next and waiting.tasks[0].interrupts

    values = await graph.ainvoke(Command(resume="yes"), config)
    assert values == (await graph.aget_state(config)).values
    assert not (await graph.aget_state(config)).next
    past = [state async for state in graph.aget_state_history(config, limit=10)]
    assert past[0].values == values and len(past) > 1

    assert {"__start__", "__end__"} < set((await graph.aget_graph()).nodes)
    after = await graph.aupdate_state(config, None, as_node="__end__")
    assert after["configurable"]["checkpoint_id"] != past[0].config["configurable"]["checkpoint_id"]


async def test_a_sub_agent_works_in_the_background_and_wakes_its_parent(
    client: LangGraphClient, model_server: Any
) -> None:
    model_server.hold(GATE)
    thread_id = (await client.threads.create())["thread_id"]
    said = {"messages": [{"role": "user", "content": DELEGATION}]}
    values: Any = await client.runs.wait(thread_id, "delegates", input=said)
    assert values["messages"][-1]["content"] == "It is on its way."
    [task] = values["async_tasks"].values()
    # A parent that is still busy would have to find out by itself.
    model_server.let_go(GATE)

    async def told() -> list[dict[str, Any]]:
        """What the parent's thread was told of its task."""
        state: Any = await client.threads.get_state(thread_id)
        messages = state["values"]["messages"]
        told = [message["additional_kwargs"].get("deepagents_notification") for message in messages]
        return [event for event in told if event is not None]

    [event] = await eventually(told, within_s=PATIENCE_S)
    assert (event["task_id"], event["status"]) == (task["thread_id"], "success")
    child: Any = await client.threads.get_state(task["thread_id"])
    assert child["values"]["messages"][-1]["content"] == "hello"
    made = await client.threads.get(task["thread_id"])
    assert made["metadata"]["parent_thread_id"] == thread_id
