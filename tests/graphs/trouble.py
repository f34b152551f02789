"""Graphs that misbehave, each in its own way, as far as their input says."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from journal import journal_of, note
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph

CHUNK_BYTES = 16 * 1024 * 1024


class Trouble(TypedDict, total=False):
    kind: str
    message: str
    where: str
    seconds: float
    bytes: int
    how: str
    code: int
    once: str
    journal: str
    value: Any


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this exception cannot be printed")

    __repr__ = __str__


class Severe(BaseException):
    """Not an `Exception`: what only a broad handler catches."""


def _exception(kind: str, message: str) -> BaseException:
    match kind:
        case "ValueError":
            return ValueError(message)
        case "KeyError":
            return KeyError(message)
        case "group":
            return ExceptionGroup(message, [ValueError("first"), KeyError("second")])
        case "unprintable":
            return Unprintable()
        case "long":
            return ValueError(message + "x" * 1_000_000)
        case "nul":
            return ValueError(f"{message}\x00after a NUL")
        case "base":
            return Severe(message)
        case _:
            return NotImplementedError(f"`kind` {kind!r} is not one this graph knows")


async def fail(state: Trouble) -> Trouble:
    raise _exception(state.get("kind", "ValueError"), state.get("message", "this graph raises"))


async def leak(state: Trouble) -> Trouble:
    lock = threading.Lock()
    if state.get("where") == "stream":
        get_stream_writer()({"lock": lock})
        return {"value": "done"}
    return {"value": lock}


async def block(state: Trouble, config: RunnableConfig) -> Trouble:
    note(journal_of(state, config), "blocks", os.getpid())
    time.sleep(state.get("seconds", 1))  # noqa: ASYNC251 - this graph stops the loop on purpose
    return {"value": "done"}


async def eat(state: Trouble) -> Trouble:
    eaten: list[bytes] = []
    left = state.get("bytes", 1024 * 1024)
    while left > 0:
        # Written, not only reserved: untouched pages would count for nothing.
        eaten.append(b"\x01" * min(left, CHUNK_BYTES))
        left -= CHUNK_BYTES
        await asyncio.sleep(0)
    await asyncio.sleep(state.get("seconds", 0))
    return {"value": sum(map(len, eaten))}


async def leave(state: Trouble) -> Trouble:
    if once := state.get("once"):
        if await asyncio.to_thread(Path(once).exists):
            return {"value": "survived"}
        await asyncio.to_thread(Path(once).touch)
    code = state.get("code", 3)
    ways: dict[str, Callable[[], object]] = {
        "_exit": lambda: os._exit(code),
        "exit": lambda: sys.exit(code),
        "segfault": lambda: ctypes.string_at(0),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    }
    ways[state.get("how", "_exit")]()
    return {"value": "survived"}


async def sleep(state: Trouble, config: RunnableConfig) -> Trouble:
    journal = journal_of(state, config)
    note(journal, "sleeps", os.getpid())
    try:
        await asyncio.sleep(state.get("seconds", 60))
    except asyncio.CancelledError:
        note(journal, "cancelled", os.getpid())
        raise
    return {"value": "done"}


async def refuse(state: Trouble, config: RunnableConfig) -> Trouble:
    journal = journal_of(state, config)
    note(journal, "stubborn", os.getpid())
    end = time.monotonic() + state.get("seconds", 2)
    while (left := end - time.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            note(journal, "ignored", os.getpid())
    return {"value": "done"}


def grind(state: Trouble, config: RunnableConfig) -> Trouble:
    """Synchronous, so nothing can cancel it: it goes on in its thread."""
    note(journal_of(state, config), "grinds", os.getpid())
    end = time.monotonic() + state.get("seconds", 2)
    while time.monotonic() < end:
        time.sleep(0.01)
    note(journal_of(state, config), "ground", os.getpid())
    return {"value": "done"}


def _only(node: Callable[..., Any], name: str) -> Any:
    return StateGraph(Trouble).add_node("node", node).add_edge(START, "node").compile(name=name)


raises = _only(fail, "raises")
unserialisable = _only(leak, "unserialisable")
blocks = _only(block, "blocks")
eats_memory = _only(eat, "eats_memory")
exits = _only(leave, "exits")
sleeps = _only(sleep, "sleeps")
stubborn = _only(refuse, "stubborn")
grinds = _only(grind, "grinds")
