"""What a graph is made of: its drawing, its JSON Schemas, its subgraphs. Nothing is run for it."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, cast

from langgraph.channels.base import BaseChannel
from langgraph.graph.state import CompiledStateGraph
from pydantic import TypeAdapter, create_model

from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.typeddicts import extended
from bedplate.graphs.wire import dumps
from bedplate.kernel.errors import Refused


async def drawing(graph: AnyGraph, *, xray: bool | int = False) -> bytes:
    """`{nodes, edges}`; with `xray` subgraphs are drawn inside, down to that many levels (true:
    all).
    """
    if not isinstance(xray, bool) and xray < 1:
        raise Refused("'xray' must be true, false or a number of levels above 0.")
    return dumps((await graph.aget_graph(xray=xray)).to_json())


def schemas(graph: AnyGraph, graph_id: str) -> bytes:
    """The graph's JSON Schemas; null where a type has none."""
    return dumps({"graph_id": graph_id, **_schemas(graph)})


async def subgraphs(
    graph: AnyGraph, *, namespace: str | None = None, recurse: bool = False
) -> bytes:
    """The schemas of each subgraph by namespace (`outer|inner`), or of the one at `namespace`."""
    # A nested one is only found by going down, whether or not the caller asks for all of them.
    deep = recurse or (namespace is not None and "|" in namespace)
    return dumps(
        {
            place: _schemas(cast("AnyGraph", subgraph))
            async for place, subgraph in graph.aget_subgraphs(namespace=namespace, recurse=deep)
        }
    )


def _schemas(graph: AnyGraph) -> dict[str, Any]:
    types: tuple[Any, Any, Any] = (None, None, None)
    if isinstance(graph, CompiledStateGraph):
        builder = graph.builder
        types = (builder.input_schema, builder.output_schema, builder.state_schema)
    given, returned, state = types
    context = _schema(graph.get_context_jsonschema, graph.context_schema)
    return {
        "input_schema": _schema(graph.get_input_jsonschema, given),
        "output_schema": _schema(graph.get_output_jsonschema, returned),
        "state_schema": _schema(lambda: _state_schema(graph, state), state),
        # `configurable` and `context` are two doors to the same values.
        "config_schema": context,
        "context_schema": context,
    }


def _schema(make: Callable[[], dict[str, Any] | None], kind: Any) -> dict[str, Any] | None:
    """What the library makes, else what can be made of the type itself, else None."""
    try:
        return make()
    except Exception:
        pass
    try:
        return TypeAdapter(extended(kind)).json_schema() if typing.is_typeddict(kind) else None
    except Exception:
        return None


def _state_schema(graph: AnyGraph, kind: Any) -> dict[str, Any]:
    if kind is not None:
        return TypeAdapter(kind).json_schema()
    channels = {
        name: (channel.ValueType, None)
        for name in graph.stream_channels_list
        if isinstance(channel := graph.channels[name], BaseChannel)
    }
    fields = cast("dict[str, Any]", channels)
    return create_model(graph.get_name("State"), **fields).model_json_schema()
