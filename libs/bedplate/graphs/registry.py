"""The graphs of one project: imported once, opened for every run and every read.

Importing runs the user's code, so it happens in executors only, at start. The project comes first
on the import path: its own `services`, `libs` or `proto` are found as they are when the project
runs without us.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from typing import Any, TypedDict

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext

from bedplate.graphs.config import GraphReference, ProjectConfig
from bedplate.graphs.factories import AnyGraph, Factory, Occasion, Static, source_of
from bedplate.graphs.loading import NotLoadable, load, put_first, users_trace
from bedplate.kernel.errors import NotFound, Refused

log = structlog.get_logger(__name__)

_LIBRARY_NAME = "LangGraph"


class GraphLoadError(Refused):
    """A graph of the project cannot be loaded. `trace` is the traceback of the user's code, or
    empty.
    """

    def __init__(self, graph_id: str, problem: str, *, trace: str = "") -> None:
        super().__init__(f"Graph {graph_id!r} cannot be loaded: {problem}.", graph_id=graph_id)
        self.trace = trace


class GraphDescription(TypedDict):
    graph_id: str
    name: str
    description: str | None


class Registry:
    """The graphs of a project by id. Safe to share between runs: an open graph is always a copy."""

    def __init__(
        self,
        sources: dict[str, Static | Factory],
        *,
        descriptions: dict[str, str | None] | None = None,
    ) -> None:
        self._sources = sources
        self._descriptions = descriptions or {}
        self._warned: set[str] = set()
        for graph_id, source in sources.items():
            if isinstance(source, Static):
                self._warn_once(graph_id, source.graph)

    @classmethod
    def load(cls, config: ProjectConfig) -> Registry:
        """Import every graph of the project. Changes this process: its environment and its import
        path.

        Raises GraphLoadError for the first graph that cannot be had.
        """
        os.environ.update(config.added_env(os.environ))
        put_first(config.import_paths)
        sources = {
            graph_id: _load(graph_id, reference, config)
            for graph_id, reference in config.graphs.items()
        }
        descriptions = {name: reference.description for name, reference in config.graphs.items()}
        return cls(sources, descriptions=descriptions)

    def graph_ids(self) -> list[str]:
        return list(self._sources)

    def describe(self) -> list[GraphDescription]:
        """Each graph with the name its system assistant gets. A factory is not called for it: it
        has its id.
        """
        return [
            GraphDescription(
                graph_id=graph_id,
                name=_name_of(source) or graph_id,
                description=self._descriptions.get(graph_id),
            )
            for graph_id, source in self._sources.items()
        ]

    def open(
        self,
        graph_id: str,
        *,
        config: RunnableConfig,
        access: AccessContext,
        context: Any,
        user: Any,
        store: BaseStore,
        checkpointer: BaseCheckpointSaver[Any],
    ) -> AbstractAsyncContextManager[AnyGraph]:
        """A copy of the graph with the server's checkpointer and store, closed with what its
        factory opened: a `nullcontext` where there is none.

        Raises NotFound for an unknown id, and when entered what the user's factory raises.
        """
        source = self._sources.get(graph_id)
        if source is None:
            known = ", ".join(sorted(self._sources))
            raise NotFound(f"There is no graph {graph_id!r}. Known graphs: {known}.")
        attached = {"checkpointer": checkpointer, "store": store}
        if isinstance(source, Static):
            return nullcontext(source.graph.copy(attached))
        occasion = Occasion(access=access, config=config, context=context, user=user, store=store)
        return self._making(graph_id, source, occasion, attached)

    @asynccontextmanager
    async def _making(
        self, graph_id: str, source: Factory, occasion: Occasion, attached: dict[str, Any]
    ) -> AsyncGenerator[AnyGraph]:
        async with AsyncExitStack() as stack:
            made = await source.make(occasion, stack)
            self._warn_once(graph_id, made)
            yield made.copy(attached)

    def _warn_once(self, graph_id: str, graph: AnyGraph) -> None:
        replaced = [
            name
            for name, is_own in (
                ("checkpointer", isinstance(graph.checkpointer, BaseCheckpointSaver)),
                ("store", graph.store is not None),
            )
            if is_own
        ]
        if replaced and graph_id not in self._warned:
            self._warned.add(graph_id)
            log.warning("graph.persistence_replaced", graph_id=graph_id, replaced=replaced)


def _name_of(source: Static | Factory) -> str | None:
    if isinstance(source, Static) and source.graph.name != _LIBRARY_NAME:
        return source.graph.name
    return None


def _load(graph_id: str, reference: GraphReference, config: ProjectConfig) -> Static | Factory:
    try:
        return source_of(load(reference, folder=config.folder, paths=config.import_paths))
    except NotLoadable as error:
        raise GraphLoadError(graph_id, error.problem, trace=error.trace) from error
    except Refused as error:
        raise GraphLoadError(graph_id, f"{reference.text!r}: {error.message}") from error
    except Exception as error:  # a StateGraph is compiled here, and its mistakes are the user's
        problem = NotLoadable.problem_of(error, reference)
        raise GraphLoadError(graph_id, problem, trace=users_trace(error)) from error
