"""A conversation with the support desk over HTTP, with plain `langgraph_sdk`.

    python play.py [--url http://127.0.0.1:2024] [--yes]

Streams a greeting, asks for a refund, stops at the approval, asks you, resumes; then shows that
what one thread was told is known in another.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamMode

AGENT = "support-desk"


async def main(url: str, *, is_approved: bool) -> None:
    client = get_client(url=url)
    thread = await client.threads.create()
    thread_id = thread["thread_id"]
    await say(client, thread_id, "Hello!")
    await say(client, thread_id, "I want a refund for order 1042.")

    # The run has stopped at the approval: the thread is `interrupted`, its state says for what.
    state: dict[str, Any] = dict(await client.threads.get_state(thread_id))
    for request in state["interrupts"][0]["value"]["action_requests"]:
        print(f"\n  approval needed: {request['name']} {request['args']}")
    decision = {"type": "approve"} if is_approved or await agreed() else {"type": "reject"}
    await stream(client, thread_id, command={"resume": {"decisions": [decision]}})

    await say(client, thread_id, "Please remember that I prefer short answers.")
    other = await client.threads.create()
    await say(client, other["thread_id"], "What do you know about me?")


async def say(client: LangGraphClient, thread_id: str, text: str) -> None:
    print(f"\nyou: {text}")
    message = {"role": "user", "content": text}
    await stream(client, thread_id, input={"messages": [message]})


async def stream(client: LangGraphClient, thread_id: str, **given: Any) -> None:
    """Start a run and print what the model says as it says it, and which tools it calls."""
    print("agent: ", end="", flush=True)
    modes: list[StreamMode] = ["messages-tuple", "updates"]
    async for part in client.runs.stream(thread_id, AGENT, stream_mode=modes, **given):
        data: Any = part.data
        if part.event == "error":
            raise SystemExit(f"the run failed: {data}")
        if part.event == "messages" and data[0]["type"] == "AIMessageChunk":
            print(text_of(data[0]["content"]), end="", flush=True)
        elif part.event == "updates":
            for call in tool_calls(data):
                print(f"[{call['name']}] ", end="", flush=True)
    print()


def text_of(content: str | list[dict[str, Any]]) -> str:
    """Some providers send text as it is, others in blocks."""
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


def tool_calls(update: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls in the messages that the step's node `model` added."""
    messages = (update.get("model") or {}).get("messages", [])
    return [call for message in messages for call in message.get("tool_calls", [])]


async def agreed() -> bool:
    answer = await asyncio.to_thread(input, "  approve? [y/n] ")
    return answer.strip().lower().startswith("y")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A conversation with the support desk.")
    parser.add_argument("--url", default="http://127.0.0.1:2024", help="the server's address")
    parser.add_argument("--yes", action="store_true", help="approve without asking")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, is_approved=arguments.yes))
