"""The support desk: a deep agent with a subagent, skills, memory, tools, and an approval.

`langgraph.json` names `make_graph`. The server calls it for every run, and also to read state and
to describe the graph; only a run may write or start anything, the graph itself is the same each
time.
"""

from __future__ import annotations

import asyncio
import base64
import functools
from pathlib import Path
from typing import Any

from deepagents import FilesystemPermission, SubAgent, create_deep_agent
from deepagents.backends import CompositeBackend, StateBackend, StoreBackend
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import ServerRuntime
from model import chat_model
from shop import look_up_order, refund_order

HERE = Path(__file__).parent
MEMORY = "/memories/AGENTS.md"
NOTHING_KNOWN = "# About this customer\n\nNothing is known yet.\n"

# Agents may read their skills; only the people who deploy them may change them.
SKILLS_ARE_READ_ONLY = FilesystemPermission(operations=["write"], paths=["/skills/**"], mode="deny")


async def make_graph(config: RunnableConfig, runtime: ServerRuntime[None]) -> Any:
    is_run = runtime.execution_runtime is not None
    assistant = str(config.get("configurable", {}).get("assistant_id") or "support-desk")
    skills = ("support-desk", "skills", label(assistant))
    memories = ("support-desk", "memories", label(assistant), customer(runtime))
    instructions, skill_files = await asyncio.to_thread(project_files)
    if is_run:
        await seed(runtime.store, skills, files=skill_files, is_replaced=True)
        known = {"/AGENTS.md": NOTHING_KNOWN}
        await seed(runtime.store, memories, files=known, is_replaced=False)

    policy_checker: SubAgent = {
        "name": "policy-checker",
        "description": "Says whether the rules allow a refund. Give it the order and the reason.",
        "system_prompt": "You are the policy checker of a small shop. Say what is allowed, why.",
        "skills": ["/skills/policy/"],
        "tools": [look_up_order],
    }
    return create_deep_agent(
        name="support-desk",
        model=chat_model(will_be_called=is_run),
        system_prompt=instructions,
        tools=[look_up_order, refund_order],
        subagents=[policy_checker],
        skills=["/skills/desk/"],
        memory=[MEMORY],
        interrupt_on={"refund_order": True},
        permissions=[SKILLS_ARE_READ_ONLY],
        backend=CompositeBackend(
            default=StateBackend(),  # scratch files live and die with the thread
            routes={"/memories/": stored(memories), "/skills/": stored(skills)},
        ),
    )


def stored(namespace: tuple[str, ...]) -> StoreBackend:
    """Files in the store. It searches by prefix, so no namespace may begin with another one."""
    return StoreBackend(namespace=lambda _runtime: namespace)


def customer(runtime: ServerRuntime[None]) -> str:
    """Whose memory this is: the user's, or everybody's where nobody has to sign in."""
    return "everybody" if runtime.user is None else label(runtime.user.identity)


def label(text: str) -> str:
    """`text` as part of a namespace, where dots (e-mail addresses have some) are not allowed."""
    return "x-" + base64.b32encode(text.encode()).decode().rstrip("=").lower()


async def seed(
    store: BaseStore, namespace: tuple[str, ...], *, files: dict[str, str], is_replaced: bool
) -> None:
    """Store what is missing of `files`; with `is_replaced`, also what differs."""
    for path, text in files.items():
        item = await store.aget(namespace, path)
        if item is None or (is_replaced and item.value["content"] != text):
            await store.aput(namespace, path, {"content": text, "encoding": "utf-8"}, index=False)


@functools.cache
def project_files() -> tuple[str, dict[str, str]]:
    """The instructions, and the skills as {path below /skills: text}."""
    skills = {
        f"/{path.relative_to(HERE / 'skills').as_posix()}": path.read_text(encoding="utf-8")
        for path in sorted((HERE / "skills").rglob("*.md"))
    }
    return (HERE / "AGENTS.md").read_text(encoding="utf-8"), skills
