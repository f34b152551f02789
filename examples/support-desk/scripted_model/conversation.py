"""A model request, read from either of OpenAI's two APIs into one form."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Api = Literal["chat", "responses"]


@dataclass
class Turn:
    """One message. `role`: system, user, assistant, tool. `tool`: whose result this is."""

    role: str
    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tool: str = ""


@dataclass(frozen=True)
class Conversation:
    api: Api
    model: str
    turns: list[Turn]
    tools: list[str]
    is_streamed: bool
    wants_usage: bool

    @property
    def system(self) -> str:
        return "\n\n".join(turn.text for turn in self.turns if turn.role == "system")

    @property
    def user(self) -> str:
        """The last user message."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")

    def tool_result(self, tool: str = "") -> str:
        """The text of the newest result, of any tool or of the one named."""
        results = (turn for turn in reversed(self.turns) if turn.role == "tool")
        return next((turn.text for turn in results if tool in ("", turn.tool)), "")

    @property
    def steps_done(self) -> int:
        """Assistant turns since the last user message."""
        done = 0
        for turn in reversed(self.turns):
            if turn.role == "user":
                break
            done += turn.role == "assistant"
        return done

    @property
    def digest(self) -> str:
        """Equal for equal conversations, in every process: a repeated model call shows by it."""
        said = [
            (t.role, t.text, [(c["name"], c["args"]) for c in t.tool_calls]) for t in self.turns
        ]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def from_chat(body: dict[str, Any]) -> Conversation:
    """`POST /v1/chat/completions`."""
    turns: list[Turn] = []
    tool_of: dict[str, str] = {}
    for message in body.get("messages") or []:
        role = "system" if message.get("role") == "developer" else str(message.get("role", ""))
        turn = Turn(role, text_of(message.get("content")))
        turn.tool = tool_of.get(message.get("tool_call_id", ""), "")
        for call in message.get("tool_calls") or []:
            function = call.get("function") or {}
            tool_of[call.get("id", "")] = function.get("name", "")
            turn.tool_calls.append(
                {"name": function.get("name"), "args": _decoded(function.get("arguments"))}
            )
        turns.append(turn)
    offered = [(tool.get("function") or {}).get("name", "") for tool in body.get("tools") or []]
    return Conversation(
        api="chat",
        model=str(body.get("model", "")),
        turns=turns,
        tools=sorted(offered),
        is_streamed=bool(body.get("stream")),
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def from_responses(body: dict[str, Any]) -> Conversation:
    """`POST /v1/responses`. Adjacent items of the assistant are one turn."""
    turns: list[Turn] = []
    tool_of: dict[str, str] = {}
    if body.get("instructions"):
        turns.append(Turn("system", text_of(body["instructions"])))
    given = body.get("input") or []
    items: list[dict[str, Any]] = (
        [{"role": "user", "content": given}] if isinstance(given, str) else given
    )

    def assistant() -> Turn:
        if not turns or turns[-1].role != "assistant":
            turns.append(Turn("assistant"))
        return turns[-1]

    for item in items:
        match item.get("type") or "message":
            case "message" if item.get("role") == "assistant":
                assistant().text += text_of(item.get("content"))
            case "message":
                role = "system" if item.get("role") == "developer" else str(item.get("role", ""))
                turns.append(Turn(role, text_of(item.get("content"))))
            case "function_call":
                tool_of[item.get("call_id", "")] = item.get("name", "")
                call = {"name": item.get("name"), "args": _decoded(item.get("arguments"))}
                assistant().tool_calls.append(call)
            case "function_call_output":
                tool = tool_of.get(item.get("call_id", ""), "")
                turns.append(Turn("tool", text_of(item.get("output")), tool=tool))
            case _:
                assistant()
    return Conversation(
        api="responses",
        model=str(body.get("model", "")),
        turns=turns,
        tools=sorted(str(tool.get("name", "")) for tool in body.get("tools") or []),
        is_streamed=bool(body.get("stream")),
        wants_usage=True,
    )


def text_of(content: Any) -> str:
    """The plain text of a content value: nothing, a string, a block, or a list of blocks."""
    match content:
        case None:
            return ""
        case str():
            return content
        case dict():
            return text_of(content.get("text") or content.get("content"))
        case list():
            return "\n".join(text for text in map(text_of, content) if text)
        case _:
            return str(content)


def _decoded(arguments: Any) -> Any:
    """A tool call's arguments travel as JSON text; what a model garbled stays text."""
    try:
        return json.loads(arguments or "{}")
    except (TypeError, ValueError):
        return arguments
