"""An answer in the form of either API: whole, or as the events of a stream.

Source: https://platform.openai.com/docs/api-reference, chat completions and responses, each with
its streaming events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .conversation import Conversation
from .script import Answer

Event = tuple[str | None, dict[str, Any] | str]
"""The name (chat completions have none) and the data of one server-sent event."""


def whole(conversation: Conversation, answer: Answer, answer_id: str) -> dict[str, Any]:
    if conversation.api == "chat":
        return _completion(conversation, answer, answer_id)
    return _response(conversation, answer, answer_id, "completed")


def streamed(
    conversation: Conversation, answer: Answer, answer_id: str, *, chunk_chars: int
) -> Iterator[Event]:
    if conversation.api == "chat":
        return _completion_chunks(conversation, answer, answer_id, chunk_chars)
    return _response_events(conversation, answer, answer_id, chunk_chars)


def error_body(status: int, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _pieces(text: str, chars: int) -> Iterator[str]:
    for start in range(0, len(text), chars):
        yield text[start : start + chars]


def _tokens(text: str) -> int:
    return (len(text) + 3) // 4


def _usage(conversation: Conversation, answer: Answer) -> tuple[int, int]:
    """Tokens sent and made, at four characters each; a repeated request has the same usage."""
    sent = sum(_tokens(turn.text + json.dumps(turn.tool_calls)) for turn in conversation.turns)
    return sent, _tokens(answer.text + json.dumps(answer.tool_calls))


def _chat_usage(conversation: Conversation, answer: Answer) -> dict[str, int]:
    sent, made = _usage(conversation, answer)
    return {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}


def _completion(conversation: Conversation, answer: Answer, answer_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
            }
            for call in answer.tool_calls
        ]
    return {
        "id": f"chatcmpl-{answer_id}",
        "object": "chat.completion",
        "created": 0,
        "model": conversation.model,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
        "usage": _chat_usage(conversation, answer),
    }


def _completion_chunks(
    conversation: Conversation, answer: Answer, answer_id: str, chars: int
) -> Iterator[Event]:
    common = {
        "id": f"chatcmpl-{answer_id}",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": conversation.model,
    }

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return None, {**common, "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(answer.text, chars):
        yield chunk({"content": piece})
    for index, call in enumerate(answer.tool_calls):
        function = {"name": call["name"], "arguments": ""}
        head = {"index": index, "id": call["id"], "type": "function", "function": function}
        yield chunk({"tool_calls": [head]})
        for piece in _pieces(json.dumps(call["args"]), chars):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, answer.finish_reason)
    if conversation.wants_usage:
        yield None, {**common, "choices": [], "usage": _chat_usage(conversation, answer)}
    yield None, "[DONE]"


def _items(answer: Answer, answer_id: str) -> list[dict[str, Any]]:
    """The output items of a response: the text, then the tool calls."""
    items: list[dict[str, Any]] = []
    if answer.text or not answer.tool_calls:
        content = [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}]
        items.append(
            {
                "id": f"msg_{answer_id}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": content,
            }
        )
    for index, call in enumerate(answer.tool_calls):
        items.append(
            {
                "id": f"fc_{answer_id}_{index}",
                "type": "function_call",
                "status": "completed",
                "call_id": call["id"],
                "name": call["name"],
                "arguments": json.dumps(call["args"]),
            }
        )
    return items


def _response(
    conversation: Conversation, answer: Answer, answer_id: str, status: str
) -> dict[str, Any]:
    sent, made = _usage(conversation, answer)
    usage = {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sent + made,
    }
    is_over = status == "completed"
    return {
        "id": f"resp_{answer_id}",
        "object": "response",
        "created_at": 0,
        "status": status,
        "model": conversation.model,
        "output": _items(answer, answer_id) if is_over else [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if is_over else None,
    }


def _response_events(
    conversation: Conversation, answer: Answer, answer_id: str, chars: int
) -> Iterator[Event]:
    started = _response(conversation, answer, answer_id, "in_progress")
    body = [
        ("response.created", {"response": started}),
        ("response.in_progress", {"response": started}),
        *(
            event
            for index, item in enumerate(_items(answer, answer_id))
            for event in _item_events(index, item, chars)
        ),
        (
            "response.completed",
            {"response": _response(conversation, answer, answer_id, "completed")},
        ),
    ]
    for number, (kind, fields) in enumerate(body):
        yield kind, {"type": kind, "sequence_number": number, **fields}


def _item_events(
    index: int, item: dict[str, Any], chars: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    at = {"output_index": index, "item_id": item["id"]}
    begun = {**item, "status": "in_progress"}
    if item["type"] == "message":
        text = item["content"][0]["text"]
        part = {**at, "content_index": 0}
        block = {"type": "output_text", "annotations": [], "logprobs": []}
        added = {"output_index": index, "item": {**begun, "content": []}}
        yield "response.output_item.added", added
        yield "response.content_part.added", {**part, "part": {**block, "text": ""}}
        for piece in _pieces(text, chars):
            yield "response.output_text.delta", {**part, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**part, "text": text, "logprobs": []}
        yield "response.content_part.done", {**part, "part": {**block, "text": text}}
    else:
        arguments = item["arguments"]
        added = {"output_index": index, "item": {**begun, "arguments": ""}}
        yield "response.output_item.added", added
        for piece in _pieces(arguments, chars):
            yield "response.function_call_arguments.delta", {**at, "delta": piece}
        done = {**at, "name": item["name"], "arguments": arguments}
        yield "response.function_call_arguments.done", done
    yield "response.output_item.done", {"output_index": index, "item": item}
