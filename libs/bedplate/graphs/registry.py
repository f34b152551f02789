"""The graphs of one project: imported once, opened for every run and every read.

Importing runs the user's code, so it happens in executors only, at start. The project comes first
on the import path: its own `services`, `libs` or `proto` are found as they are when the project
runs without us.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TypedDict

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext

from bedplate.graphs.config import GraphReference, ProjectConfig
from bedplate.graphs.factories import AnyGraph, Factory, Occasion, Static, source_of
from bedplate.kernel.errors import NotFound, Refused

log = structlog.get_logger(__name__)

_OURS = str(Path(__file__).resolve().parents[1])
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
        _put_first(config.import_paths)
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

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        *,
        config: RunnableConfig,
        access: AccessContext,
        context: Any,
        user: Any,
        store: BaseStore,
        checkpointer: BaseCheckpointSaver[Any],
    ) -> AsyncGenerator[AnyGraph]:
        """A copy of the graph with the server's checkpointer and store, closed with what its
        factory opened.

        Raises NotFound for an unknown id, else what the user's factory raises.
        """
        source = self._sources.get(graph_id)
        if source is None:
            known = ", ".join(sorted(self._sources))
            raise NotFound(f"There is no graph {graph_id!r}. Known graphs: {known}.")
        attached = {"checkpointer": checkpointer, "store": store}
        if isinstance(source, Static):
            yield source.graph.copy(attached)
            return
        occasion = Occasion(access=access, config=config, context=context, user=user, store=store)
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


def _put_first(paths: Sequence[Path]) -> None:
    wanted = [str(path) for path in paths]
    sys.path[:] = [*wanted, *(entry for entry in sys.path if entry not in wanted)]
    importlib.invalidate_caches()


def _load(graph_id: str, reference: GraphReference, config: ProjectConfig) -> Static | Factory:
    try:
        module = _module(reference, config)
    except (Exception, SystemExit) as error:
        raise GraphLoadError(
            graph_id, _problem(error, reference), trace=_users_trace(error)
        ) from error
    try:
        value = getattr(module, reference.name)
    except AttributeError:
        problem = f"{reference.text!r} has no attribute {reference.name!r}"
        raise GraphLoadError(graph_id, problem) from None
    try:
        return source_of(value)
    except Refused as error:
        raise GraphLoadError(graph_id, f"{reference.text!r}: {error.message}") from error
    except Exception as error:  # a StateGraph is compiled here, and its mistakes are the user's
        raise GraphLoadError(
            graph_id, _problem(error, reference), trace=_users_trace(error)
        ) from error


def _module(reference: GraphReference, config: ProjectConfig) -> ModuleType:
    if reference.file is None:
        return importlib.import_module(reference.module or "")
    for dotted in _dotted_names(reference.file, config.import_paths):
        if _origin(dotted) == reference.file:
            return importlib.import_module(dotted)
    return _module_of_its_own(reference.file, config.folder)


def _dotted_names(file: Path, roots: Sequence[Path]) -> list[str]:
    """The names under which the project's own code would import `file`, the shortest first.

    Used where they lead to that very file: a second copy of a module under another name has other
    classes, and relative imports work only in a package.
    """
    names = []
    for root in roots:
        if file.is_relative_to(root.resolve()):
            parts = file.relative_to(root.resolve()).with_suffix("").parts
            if all(part.isidentifier() for part in parts):
                names.append(".".join(parts))
    return sorted(names, key=len)


def _origin(dotted: str) -> Path | None:
    """The file `import dotted` leads to. Imports the parent packages, as that import would."""
    first = dotted.partition(".")[0]
    if first in sys.builtin_module_names or first in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(dotted)
    except ModuleNotFoundError as error:
        # A parent that is no package: not the way to this file. Anything missing further in is the
        # user's.
        if error.name is not None and dotted.startswith(error.name):
            return None
        raise
    except ValueError:
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve()


def _module_of_its_own(file: Path, folder: Path) -> ModuleType:
    """Import `file` under a name that depends only on its place in the project.

    The name is written into checkpoints with the user's classes, so it must be the same in every
    process; and two files of the same name in two folders must not be one module.
    """
    place = os.path.relpath(file, folder)
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    name = f"{re.sub(r'[^0-9a-zA-Z_]', '_', file.stem)}__{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python source file", path=str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _problem(error: BaseException, reference: GraphReference) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"importing {reference.text!r} failed with {text.rstrip('.')}"


def _users_trace(error: BaseException) -> str:
    """The traceback from the user's first line on: our frames and the import machinery's say
    nothing to them.
    """
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _is_plumbing(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_plumbing(file: str) -> bool:
    return (
        file.startswith((_OURS, "<frozen "))
        or Path(file).parent == Path(importlib.__file__ or "").parent
    )
