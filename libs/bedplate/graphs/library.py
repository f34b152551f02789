"""The few names of langgraph that services need: they import the library only through this
package."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

__all__ = ["CheckpointTuple", "GraphDrained", "RunControl", "RunnableConfig"]
