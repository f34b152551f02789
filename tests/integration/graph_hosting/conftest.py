"""Small graphs, one for each behaviour that the streams and reads have to show."""

from __future__ import annotations

import json
import operator
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Scripted(BaseChatModel):
    """A chat model that says what `reply` makes of the messages, word by word."""

    reply: Callable[[Sequence[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.reply(messages))])

    def _pieces(self, messages: Sequence[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        reply = self.reply(messages)
        words = str(reply.content).split(" ")
        for number, word in enumerate(words):
            piece = AIMessageChunk(content=word if number == 0 else " " + word)
            yield ChatGenerationChunk(message=piece)
        for number, call in enumerate(reply.tool_calls):
            chunk = {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"]}
            piece = AIMessageChunk(
                content="", tool_call_chunks=[{**chunk, "index": number, "type": "tool_call_chunk"}]
            )
            yield ChatGenerationChunk(message=piece)
        usage = UsageMetadata(input_tokens=1, output_tokens=2, total_tokens=3)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._pieces(messages):
            if run_manager is not None:
                await run_manager.on_llm_new_token(str(piece.message.content), chunk=piece)
            yield piece


class Steps(TypedDict):
    note: str
    log: Annotated[list[str], operator.add]


class Topic(TypedDict):
    topic: str
    answer: str


def steps_graph(**compiled: Any) -> Any:
    def node(name: str) -> Callable[[Steps], dict[str, Any]]:
        return lambda state: {"log": [f"{name}:{state['note']}"]}

    graph = StateGraph(Steps)
    for name in ("one", "two", "three"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "one").add_edge("one", "two").add_edge("two", "three")
    return graph.compile(checkpointer=InMemorySaver(), **compiled)


def approval_graph() -> Any:
    def ask(state: Topic) -> dict[str, Any]:
        return {"answer": interrupt({"question": f"approve {state['topic']}?"})}

    graph = StateGraph(Topic).add_node("ask", ask).add_edge(START, "ask")
    return graph.compile(checkpointer=InMemorySaver())


def nested_graph(inner: Callable[[Topic], dict[str, Any]]) -> Any:
    child = StateGraph(Topic).add_node("inner", inner).add_edge(START, "inner").compile()
    graph = StateGraph(Topic).add_node("child", child).add_edge(START, "child")
    return graph.compile(checkpointer=InMemorySaver())


def echo_graph(reply: Callable[[Sequence[BaseMessage]], AIMessage] | None = None) -> Any:
    model = Scripted(reply=reply or (lambda messages: AIMessage(f"Echo: {messages[-1].content}")))

    async def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("model", call).add_edge(START, "model")
    return graph.compile(checkpointer=InMemorySaver())


def new_config(thread_id: str | None = None, **configurable: Any) -> RunnableConfig:
    return {
        "configurable": {"thread_id": thread_id or str(uuid.uuid4()), **configurable},
        "run_id": uuid.uuid4(),
    }


@pytest.fixture
def graphs() -> SimpleNamespace:
    return SimpleNamespace(
        steps=steps_graph,
        approval=approval_graph,
        nested=nested_graph,
        echo=echo_graph,
        model=Scripted,
        config=new_config,
    )
