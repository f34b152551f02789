"""The few names of langgraph that services need: they import the library only through this
package."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph import errors
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.errors import EmptyInputError, GraphDrained
from langgraph.runtime import RunControl
from langgraph.store.base import BaseStore

# None: the project's library is older than strict answers.
UnknownInterruptError: type[Any] | None = getattr(errors, "UnknownInterruptError", None)

__all__ = [
    "BaseCheckpointSaver",
    "BaseStore",
    "CheckpointTuple",
    "EmptyInputError",
    "GraphDrained",
    "RunControl",
    "RunnableConfig",
    "UnknownInterruptError",
]
