"""A deep agent whose model costs nothing: what is left is what a conversation itself costs.

The first word of what the user says is how often a tool is called before the answer; the answer is
as long as what the user said. No two messages say the same, so that nothing of them is saved by
compressing them together but what any prose saves.
"""

from __future__ import annotations

from random import Random
from typing import Any

from deepagents import create_deep_agent
from langchain.tools import tool
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

_LETTERS = "eeeeeeeeeeeetttttttttaaaaaaaaoooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddllllcccuuumm"
_rng = Random(0)
_WORDS = ["".join(_rng.choices(_LETTERS, k=_rng.randint(2, 8))) for _ in range(2_000)]


def _prose(subject: str, *, length: int) -> str:
    """So many characters about a subject: always the same, and about no other."""
    return " ".join(Random(subject).choices(_WORDS, k=length // 3))[:length]


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
        says = _prose(f"{called} {text}", length=len(text))
        calls: list[Any] = []
        if called < int(text.split()[0]):
            calls = [{"name": "look_up", "args": {"text": says}, "id": f"{len(messages)}"}]
        answer = AIMessage("" if calls else says, tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)


@tool
async def look_up(text: str) -> str:
    """What is known about it."""
    return _prose(text, length=len(text))


agent = create_deep_agent(
    name="talk", model=Listener(), tools=[look_up], system_prompt="You listen."
)
