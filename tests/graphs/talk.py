"""A deep agent whose model costs nothing: what is left is what a conversation itself costs.

The first word of what the user says is how often a tool is called before the answer; the answer is
what the user said.
"""

from __future__ import annotations

from typing import Any

from deepagents import create_deep_agent
from langchain.tools import tool
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class Listener(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "listener"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        said = max(at for at, message in enumerate(messages) if message.type == "human")
        text = messages[said].text
        called = sum(message.type == "tool" for message in messages[said:])
        calls: list[Any] = []
        if called < int(text.split()[0]):
            calls = [{"name": "echo", "args": {"text": text}, "id": f"{len(messages)}"}]
        answer = AIMessage("" if calls else text, tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)


@tool
async def echo(text: str) -> str:
    """Say it again."""
    return text


agent = create_deep_agent(name="talk", model=Listener(), tools=[echo], system_prompt="You listen.")
