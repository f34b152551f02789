from __future__ import annotations

import json
import operator
import typing
from typing import Annotated, Any

from langgraph.graph import START, MessagesState, StateGraph
from pydantic import TypeAdapter

from bedplate.graphs import drawing
from bedplate.graphs.typeddicts import extended


class Item(typing.TypedDict):
    """One item."""

    name: str
    parent: typing.NotRequired[Item | None]


class Order(typing.TypedDict, total=False):
    items: Annotated[list[Item], operator.add]
    by_name: dict[str, Item]
    first: Item | None
    kind: typing.Literal["a", "b"]
    total: typing.Required[int]


class Limits(typing.TypedDict):
    most: int


def test_a_typed_dict_of_typing_has_the_schema_it_would_have_on_newer_pythons() -> None:
    schema = TypeAdapter(extended(Order)).json_schema()
    assert schema["title"] == "Order"
    assert schema["required"] == ["total"]
    item = schema["$defs"]["Item"]
    assert (item["required"], item["description"]) == (["name"], "One item.")
    properties = schema["properties"]
    assert properties["items"]["items"] == {"$ref": "#/$defs/Item"}
    assert properties["by_name"]["additionalProperties"] == {"$ref": "#/$defs/Item"}
    assert properties["kind"]["enum"] == ["a", "b"]


def test_a_graph_of_either_kind_has_schemas() -> None:
    class Chat(MessagesState):
        note: str

    for state in (Order, Chat):
        graph: Any = StateGraph(state, context_schema=Limits).add_node("n", lambda _: None)
        shown = json.loads(drawing.schemas(graph.add_edge(START, "n").compile(), "g"))
        assert [key for key, value in shown.items() if value is None] == []
        assert shown["context_schema"]["properties"] == {
            "most": {"title": "Most", "type": "integer"}
        }


def test_a_type_without_a_schema_is_null_and_no_failure() -> None:
    class Odd:
        pass

    graph: Any = StateGraph(typing.TypedDict("State", {"odd": Odd})).add_node("n", lambda _: None)
    shown = json.loads(drawing.schemas(graph.add_edge(START, "n").compile(), "g"))
    assert {key for key, value in shown.items() if value is None} == shown.keys() - {"graph_id"}
