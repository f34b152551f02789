"""Which scenario of a script answers a conversation, and with what. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from .conversation import Conversation

INLINE = re.compile(r"```stub\s*(.*?)```", re.DOTALL)
PLACE = re.compile(r"\{\{\s*(.+?)\s*\}\}", re.DOTALL)
WHEN = ("system", "user", "last_tool", "model", "api")
AFTER = ("done", "repeat")


class BadScript(ValueError):
    """The script cannot be played; the message names the scenario and what is wrong with it."""


@dataclass(frozen=True)
class Answer:
    """What to say. `options` is the step as written: its gate, delays and error."""

    scenario: str
    step: int
    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def finish_reason(self) -> Literal["stop", "tool_calls"]:
        return "tool_calls" if self.tool_calls else "stop"


class Script:
    """Raises `BadScript` when `source` is not of the form that the package describes."""

    def __init__(self, source: dict[str, Any]) -> None:
        self.settings: dict[str, Any] = source.get("settings") or {}
        self.scenarios: list[dict[str, Any]] = source.get("scenarios") or []
        for scenario in self.scenarios:
            _check(scenario)

    def answer(self, conversation: Conversation) -> Answer:
        """The same conversation always gets the same answer, tool call ids included."""
        scenario = _inline(conversation.user) or next(
            (one for one in self.scenarios if _matches(one.get("when") or {}, conversation)), None
        )
        if scenario is None:
            return Answer("echo", 0, text=f"echo: {conversation.user}"[:4000])
        steps: list[dict[str, Any]] = scenario["steps"]
        number = conversation.steps_done
        if number < len(steps):
            step = steps[number]
        elif scenario.get("after") == "repeat":
            step = steps[-1]
        else:
            step = {"text": "Done."}
        return _filled(scenario.get("name", "unnamed"), number, step, conversation)


def _check(scenario: dict[str, Any]) -> None:
    name = scenario.get("name", "unnamed")
    if not isinstance(scenario.get("steps"), list) or not scenario["steps"]:
        raise BadScript(f"scenario {name!r}: `steps` must be a list with at least one step")
    if scenario.get("after", "done") not in AFTER:
        raise BadScript(f"scenario {name!r}: `after` must be one of {', '.join(AFTER)}")
    for key, pattern in (scenario.get("when") or {}).items():
        if key not in WHEN:
            raise BadScript(f"scenario {name!r}: `when.{key}` must be one of {', '.join(WHEN)}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise BadScript(f"scenario {name!r}: `when.{key}` is not a pattern: {error}") from error


def _inline(user: str) -> dict[str, Any] | None:
    """The script that a user message brings along, if any."""
    found = INLINE.search(user)
    if found is None:
        return None
    try:
        steps = json.loads(found.group(1))
    except ValueError as error:
        steps = [{"text": f"The script in the message is not JSON: {error}"}]
    return {"name": "inline", "steps": steps if isinstance(steps, list) else [steps]}


def _matches(when: dict[str, str], conversation: Conversation) -> bool:
    values = {
        "system": conversation.system,
        "user": conversation.user,
        "last_tool": conversation.tool_result(),
        "model": conversation.model,
        "api": conversation.api,
    }
    return all(re.search(pattern, values[key], re.DOTALL) for key, pattern in when.items())


def _filled(name: str, number: int, step: dict[str, Any], conversation: Conversation) -> Answer:
    text = json.dumps(step["json"]) if "json" in step else str(step.get("text", ""))
    calls: list[dict[str, Any]] = []
    for index, call in enumerate(step.get("tool_calls") or []):
        # Derived, not random: a model call that is repeated after a crash must name the same tool
        # calls.
        digest = hashlib.sha256(f"{conversation.digest}:{number}:{index}".encode()).hexdigest()
        args = _rendered(call.get("args") or {}, conversation)
        calls.append({"id": f"call_{digest[:20]}", "name": call["name"], "args": args})
    return Answer(name, number, _rendered(text, conversation), calls, step)


def _rendered(value: Any, conversation: Conversation) -> Any:
    match value:
        case dict():
            return {key: _rendered(item, conversation) for key, item in value.items()}
        case list():
            return [_rendered(item, conversation) for item in value]
        case str():
            return PLACE.sub(lambda place: _value_of(place, conversation), value)
        case _:
            return value


def _value_of(place: re.Match[str], conversation: Conversation) -> str:
    key, _, argument = place.group(1).partition(":")
    match key:
        case "user":
            return INLINE.sub("", conversation.user).strip()
        case "tool":
            return conversation.tool_result(argument)
        case "model":
            return conversation.model
        case "system":
            found = re.search(argument, conversation.system, re.DOTALL)
            return found.group(found.re.groups and 1) if found else ""
        case _:
            return place.group(0)
