"""What a graph reference may be, and how a graph is made of it each time one is needed.

A compiled graph is shared and only copied. Anything callable is a factory, called for every run and
every read with what its parameters ask for; what it returns may itself be awaitable or a context
manager, whose end comes when the run or the read is over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import (
    AccessContext,
    ServerRuntime,
    _ExecutionRuntime,  # pyright: ignore[reportPrivateUsage]
    _ReadRuntime,  # pyright: ignore[reportPrivateUsage]
)
from pydantic import BaseModel

from bedplate.kernel.errors import Refused

AnyGraph = Pregel[Any, Any, Any, Any]
Wanted = Literal["config", "server_runtime", "runtime"]


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """Why a graph is needed now, and what a factory may ask about that."""

    access: AccessContext
    config: RunnableConfig
    context: Any
    user: Any
    store: BaseStore


@dataclass(frozen=True)
class Static:
    """A graph that exists; it is shared by all runs and never changed."""

    graph: AnyGraph


@dataclass(frozen=True)
class Factory:
    """A callable that makes the graph. `wants` says which argument goes to which parameter."""

    call: Callable[..., Any]
    wants: tuple[tuple[str, Wanted], ...]
    context_type: Any

    async def make(self, occasion: Occasion, stack: AsyncExitStack) -> AnyGraph:
        """The graph for `occasion`. What must be closed afterwards is left on `stack`.

        It is called on the event loop, as the reference does: factories make clients that bind to
        the loop they are made on. Raises whatever the factory raises, and TypeError if it returns
        no graph.
        """
        arguments = {name: self._argument(wanted, occasion) for name, wanted in self.wants}
        made = self.call(**arguments)
        if inspect.isawaitable(made):
            made = await made
        if not isinstance(made, (Pregel, StateGraph)):
            if isinstance(made, AbstractAsyncContextManager):
                made = await stack.enter_async_context(cast("Any", made))
            elif isinstance(made, AbstractContextManager):
                made = stack.enter_context(cast("Any", made))
        graph = compiled(made)
        if graph is None:
            raise TypeError(
                f"The graph factory {_name_of(self.call)} returned a {type(made).__name__};"
                " it must return a graph."
            )
        return graph

    def _argument(self, wanted: Wanted, occasion: Occasion) -> Any:
        match wanted:
            case "config":
                return occasion.config
            case "runtime":
                context = _typed(occasion.context, self.context_type)
                return Runtime(context=context, store=occasion.store)
            case "server_runtime" if occasion.access == "threads.create_run":
                return _ExecutionRuntime(
                    access_context=occasion.access,
                    user=occasion.user,
                    store=occasion.store,
                    context=_typed(occasion.context, self.context_type),
                )
            case "server_runtime":
                return _ReadRuntime(
                    access_context=occasion.access, user=occasion.user, store=occasion.store
                )


def compiled(value: Any) -> AnyGraph | None:
    """The graph that `value` is, or becomes by compiling it; None if it is none."""
    if isinstance(value, Pregel):
        return cast("AnyGraph", value)
    if isinstance(value, StateGraph):
        return cast("AnyGraph", cast("StateGraph[Any, Any, Any, Any]", value).compile())
    return None


def source_of(value: Any) -> Static | Factory:
    """What a reference led to, as a source of graphs. Raises Refused if it can be none."""
    graph = compiled(value)
    if graph is not None:
        return Static(graph)
    if inspect.isclass(value) or not callable(value):
        kind = "the class " + value.__name__ if inspect.isclass(value) else type(value).__name__
        raise Refused(f"it is {kind}; it must be a graph or a function that makes one")
    if inspect.isasyncgenfunction(value) or inspect.isgeneratorfunction(value):
        decorator = "asynccontextmanager" if inspect.isasyncgenfunction(value) else "contextmanager"
        raise Refused(f"it is a generator; decorate it with @contextlib.{decorator}")
    return _factory(cast("Callable[..., Any]", value))


def _factory(call: Callable[..., Any]) -> Factory:
    hints = _hints(call)
    wants: list[tuple[str, Wanted]] = []
    context_type: Any = None
    required = [
        parameter
        for parameter in inspect.signature(call).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    for parameter in required:
        hint = hints.get(parameter.name, parameter.annotation)
        wanted = _wanted(hint, parameter.name)
        if wanted is None and len(required) == 1 and _is_untyped(hint):
            # A single parameter of any name is the config: that is how factories were first
            # written.
            wanted = "config"
        if wanted is None:
            if parameter.default is not parameter.empty:
                continue
            raise Refused(
                f"its parameter {parameter.name!r} is not known; a graph factory takes"
                " 'config: RunnableConfig', 'runtime: ServerRuntime', both or nothing"
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise Refused(f"its parameter {parameter.name!r} is positional-only")
        if wanted != "config" and get_args(hint):
            context_type = get_args(hint)[0]
        wants.append((parameter.name, wanted))
    return Factory(call, tuple(wants), context_type)


def _hints(call: Callable[..., Any]) -> dict[str, Any]:
    target = call if inspect.isroutine(call) else type(call).__call__
    try:
        return get_type_hints(inspect.unwrap(target))
    except Exception:
        return {}


def _wanted(hint: Any, name: str) -> Wanted | None:
    if isinstance(hint, str):
        last = hint.partition("[")[0].rpartition(".")[2].strip()
        by_text: dict[str, Wanted] = {
            "RunnableConfig": "config",
            "ServerRuntime": "server_runtime",
            "Runtime": "runtime",
        }
        if last in by_text:
            return by_text[last]
    for candidate in (hint, get_origin(hint), *get_args(hint)):
        if candidate is RunnableConfig:
            return "config"
        if candidate in (ServerRuntime, _ExecutionRuntime, _ReadRuntime):
            return "server_runtime"
        if candidate is Runtime:
            return "runtime"
    by_name: dict[str, Wanted] = {"config": "config", "runtime": "server_runtime"}
    return by_name.get(name)


def _is_untyped(hint: Any) -> bool:
    return hint in (inspect.Parameter.empty, Any, dict) or get_origin(hint) in (dict, Mapping)


def _typed(context: Any, kind: Any) -> Any:
    """`context` as the type the factory asks for, when it is one that is made from fields."""
    is_model = inspect.isclass(kind) and (issubclass(kind, BaseModel) or is_dataclass(kind))
    if is_model and isinstance(context, dict):
        return cast("Any", kind)(**context)
    return context


def _name_of(call: Callable[..., Any]) -> str:
    return getattr(call, "__qualname__", type(call).__qualname__)
