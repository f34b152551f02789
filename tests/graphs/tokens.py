"""A chat model that streams as many tokens as it is told, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, StateGraph, add_messages


class Talk(TypedDict, total=False):
    """`clock`: each token is the time it was made at, monotonic nanoseconds of this machine."""

    messages: Annotated[list[AnyMessage], add_messages]
    n: int
    pause_s: float
    clock: bool


class TokenModel(BaseChatModel):
    n: int
    pause_s: float
    clock: bool

    @property
    def _llm_type(self) -> str:
        return "tokens"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        text = "".join(f"t{number} " for number in range(self.n))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for number in range(self.n):
            is_last = number == self.n - 1
            token = f"{time.monotonic_ns()} " if self.clock else f"t{number} "
            chunk = AIMessageChunk(content=token, chunk_position="last" if is_last else None)
            yield ChatGenerationChunk(message=chunk)
            await asyncio.sleep(self.pause_s)


async def talk(state: Talk) -> dict[str, Any]:
    model = TokenModel(
        n=state.get("n", 200), pause_s=state.get("pause_s", 0), clock=state.get("clock", False)
    )
    return {"messages": [await model.ainvoke(state.get("messages") or "go")]}


graph = StateGraph(Talk).add_node(talk).add_edge(START, "talk").compile(name="tokens")
