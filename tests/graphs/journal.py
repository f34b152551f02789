"""What a graph has done, in a file: the witness that a killed worker cannot take along."""

from __future__ import annotations

import os
from typing import Any

from langchain_core.runnables import RunnableConfig


def note(journal: str | None, *words: object) -> None:
    """Append one line in one write, so that processes do not mix. Without a journal, nothing."""
    if not journal:
        return
    line = " ".join(str(word) for word in words) + "\n"
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def journal_of(state: Any, config: RunnableConfig) -> str | None:
    """The journal that the input names, else the one in `configurable`."""
    return state.get("journal") or config.get("configurable", {}).get("journal")
