"""Threads as acceptance tests use them: asked and answered, and with their past; and what a user's
message tells the scripted model to do."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
from langgraph_sdk.client import LangGraphClient


class Talk:
    """One thread of one graph, asked and answered by a client."""

    def __init__(self, client: LangGraphClient, http: httpx.AsyncClient, graph: str) -> None:
        self.client, self.http, self.graph = client, http, graph
        self.thread_id = str(uuid4())
        self.config: Any = {}

    async def begin(self, given: Any, **more: Any) -> Any:
        """What a waiting client gets; the thread is made on the way."""
        more.setdefault("if_not_exists", "create")
        return await self._wait(input=given, **more)

    async def command(self, **command: Any) -> Any:
        return await self._wait(command=command)

    async def answer(self, value: Any, **more: Any) -> Any:
        return await self._wait(command={"resume": value}, **more)

    async def go_on(self, **more: Any) -> Any:
        return await self._wait(input=None, **more)

    async def _wait(self, **given: Any) -> Any:
        client: Any = self.client
        return await client.runs.wait(
            self.thread_id, self.graph, raise_error=False, config=self.config, **given
        )

    async def status(self) -> str:
        return (await self.client.threads.get(self.thread_id))["status"]

    async def values(self) -> Any:
        return (await self.client.threads.get_state(self.thread_id))["values"]

    async def next(self) -> list[str]:
        return list((await self.client.threads.get_state(self.thread_id))["next"])

    async def pending(self) -> dict[str, str]:
        """Ids of what is asked, by question, as the thread's row and its state both show them."""
        shown: Any = (await self.client.threads.get(self.thread_id))["interrupts"]
        state: Any = await self.client.threads.get_state(self.thread_id)
        in_row = {task: asked for task, asked in shown.items() if asked}
        assert in_row == {t["id"]: t["interrupts"] for t in state["tasks"] if t["interrupts"]}
        every = [one for asked in in_row.values() for one in asked]
        assert by_id(every) == by_id(state["interrupts"])
        return {_text(one["value"]): one["id"] for one in every}


class Story:
    """One thread of one graph with its past."""

    def __init__(self, client: LangGraphClient, graph: str, thread_id: str = "") -> None:
        self.client: Any = client
        self.graph = graph
        self.thread_id = thread_id or str(uuid4())
        self.config: Any = {}

    async def run(self, given: Any = None, **more: Any) -> Any:
        more.setdefault("if_not_exists", "create")
        return await self.client.runs.wait(
            self.thread_id,
            self.graph,
            input=given,
            config=self.config,
            raise_error=False,
            **more,
        )

    async def states(self, **asked: Any) -> list[Any]:
        """The past, oldest first."""
        asked.setdefault("limit", 100)
        return (await self.client.threads.get_history(self.thread_id, **asked))[::-1]

    async def ids(self, **asked: Any) -> list[str]:
        return [state["checkpoint"]["checkpoint_id"] for state in await self.states(**asked)]

    async def at(self, step: int) -> Any:
        """The oldest state of that step."""
        return next(s for s in await self.states() if s["metadata"]["step"] == step)

    async def state(self, **asked: Any) -> Any:
        return await self.client.threads.get_state(self.thread_id, **asked)

    async def row(self) -> Any:
        return await self.client.threads.get(self.thread_id)

    async def edit(self, values: Any, **more: Any) -> Any:
        return await self.client.threads.update_state(self.thread_id, values, **more)

    async def shows_its_newest_state(self) -> None:
        row, state = await self.row(), await self.state()
        assert row["values"] == state["values"]
        assert row["status"] == ("interrupted" if state["next"] else "idle")


def by_id(interrupts: list[Any]) -> dict[str, Any]:
    return {one["id"]: (one["value"], one.get("response_schema")) for one in interrupts}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def script(*turns: Any) -> dict[str, Any]:
    """A user's message that tells the agents' model what to do."""
    text = f"go {uuid4().hex} ```stub {json.dumps(list(turns))}```"
    return {"messages": [{"role": "user", "content": text}]}


def calls(*wanted: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "args": args} for name, args in wanted]}


def texts(state: Any) -> list[str]:
    return [one["content"] for one in state["values"]["messages"]]


def place(state: Any) -> str:
    return state["checkpoint"]["checkpoint_id"]


def told_by_tools(values: Any) -> list[tuple[str, str]]:
    """Status and last words of each tool message, in the order of the calls."""
    messages = values["messages"]
    order = [call["id"] for one in messages if one["type"] == "ai" for call in one["tool_calls"]]
    found = {one["tool_call_id"]: one for one in messages if one["type"] == "tool"}
    return [(found[id_]["status"], found[id_]["content"].splitlines()[-1]) for id_ in order]
