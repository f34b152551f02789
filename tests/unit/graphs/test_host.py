from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from langgraph_sdk.auth.types import BaseUser
from pydantic import BaseModel
from typing_extensions import TypedDict

from bedplate.graphs.host import SERVER_KEYS, graph_context, run_config, to_input
from bedplate.graphs.user import User
from bedplate.kernel.errors import Refused

IDS: dict[str, Any] = {
    "run_id": "01a1fb0a-a4c1-759c-91fd-2e29daafd468",
    "thread_id": "01a1fb0a-0000-759c-91fd-2e29daafd468",
    "assistant_id": "fe096781-5601-53d2-b2f6-0d3403f7e9ca",
    "graph_id": "agent",
    "attempt": 2,
}


def test_ids_stand_where_the_library_reads_them() -> None:
    config = run_config({"configurable": {"model": "m"}, "tags": ["a"]}, **IDS)
    assert config["run_id"] == uuid.UUID(IDS["run_id"])
    assert config["configurable"] == {
        "model": "m",
        **{key: IDS[key] for key in ("run_id", "thread_id", "assistant_id", "graph_id")},
    }
    assert config["tags"] == ["a"]
    metadata = config["metadata"]
    assert (metadata["run_attempt"], metadata["graph_id"]) == (2, "agent")
    assert "langgraph_version" in metadata


def test_a_recursion_limit_is_there_only_if_given() -> None:
    assert "recursion_limit" not in run_config({}, **IDS)
    assert "recursion_limit" not in run_config({"recursion_limit": None}, **IDS)
    assert run_config({"recursion_limit": 7}, **IDS)["recursion_limit"] == 7


def test_a_client_cannot_set_what_is_the_servers() -> None:
    forged = dict.fromkeys((*SERVER_KEYS, "__pregel_checkpointer", "run_id", "thread_id"), "forged")
    config = run_config(
        {"configurable": forged, "metadata": {"run_id": "forged", "mine": 1}, "callbacks": ["x"]},
        metadata={"thread_id": "forged", "run_attempt": "forged", "team": "blue"},
        **IDS,
    )
    assert "forged" not in str(config)
    assert "callbacks" not in config
    assert config["metadata"].items() >= {"mine": 1, "team": "blue"}.items()
    assert config["configurable"]["thread_id"] == IDS["thread_id"]


def test_the_user_is_an_object_with_what_authentication_gave() -> None:
    user = User({"identity": "ann", "permissions": ["read"], "org": "acme", "token": "secret"})
    assert isinstance(user, BaseUser)
    assert (user.identity, user.display_name, user["org"], user.org) == (
        "ann",
        "ann",
        "acme",
        "acme",
    )
    assert "org" in user
    assert not hasattr(user, "gone")
    assert "secret" not in repr(user)
    config = run_config({}, user=user, request_id="r-1", **IDS)
    configurable = config["configurable"]
    assert configurable["langgraph_auth_user"] is user
    assert configurable["langgraph_auth_user_id"] == configurable["user_id"] == "ann"
    assert configurable["langgraph_auth_permissions"] == ["read"]
    assert configurable["langgraph_request_id"] == "r-1"
    forged = run_config({"configurable": {"user_id": "bob"}}, user=user, **IDS)
    assert forged["configurable"]["user_id"] == "ann"
    own = run_config({"configurable": {"user_id": "mine"}}, **IDS)
    assert own["configurable"]["user_id"] == "mine", "nobody was asked who they are"


def test_a_fork_is_made_once() -> None:
    fork = {"configurable": {"checkpoint_id": "c", "checkpoint_ns": "", "checkpoint_map": None}}
    first = run_config(fork, **IDS)["configurable"]
    assert (first["checkpoint_id"], first["checkpoint_ns"]) == ("c", "")
    assert "checkpoint_map" not in first
    assert "checkpoint_id" not in run_config(fork, continues=True, **IDS)["configurable"]


async def test_a_node_sees_ids_user_and_attempt() -> None:
    class State(TypedDict):
        seen: Any

    def look(state: State, runtime: Runtime[Any]) -> Any:
        execution, server = runtime.execution_info, runtime.server_info
        assert execution is not None
        assert server is not None
        assert server.user is not None
        return {"seen": [execution.run_id, server.graph_id, server.user.identity]}

    graph = StateGraph(State).add_node("look", look).add_edge(START, "look")
    saver = InMemorySaver()
    config = run_config({}, user=User({"identity": "ann"}), metadata={"team": "blue"}, **IDS)
    state = await graph.compile(checkpointer=saver).ainvoke({"seen": None}, config)
    assert [str(value) for value in state["seen"]] == [IDS["run_id"], "agent", "ann"]
    saved = await saver.aget_tuple({"configurable": {"thread_id": IDS["thread_id"]}})
    assert saved is not None
    kept: dict[str, Any] = {**saved.metadata}
    expected = {"run_id": IDS["run_id"], "graph_id": "agent", "run_attempt": 2, "team": "blue"}
    assert kept.items() >= expected.items()


@pytest.mark.parametrize("answer", [False, 0, "", [], {}, {"a": 1}, "yes"])
def test_every_answer_but_null_resumes(answer: Any) -> None:
    assert to_input(None, {"resume": answer}) == Command(resume=answer)


def test_a_command_that_asks_for_nothing_leaves_the_input() -> None:
    for command in (None, {}, {"resume": None}, {"resume": None, "update": None, "goto": []}):
        assert to_input({"a": 1}, command) == {"a": 1}


def test_goto_and_update_take_every_documented_form() -> None:
    made = to_input(
        None,
        {"goto": ["one", {"node": "two", "input": {"a": 1}}], "update": [["a", 1], ["a", 2]]},
    )
    assert made == Command(goto=["one", Send("two", {"a": 1})], update=[("a", 1), ("a", 2)])
    assert to_input(None, {"goto": "one"}) == Command(goto=["one"])
    assert to_input(None, {"goto": {"node": "one"}}) == Command(goto=[Send("one", None)])
    assert to_input(None, {"update": {"a": 1}}) == Command(update={"a": 1})


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"goto": 1}, r"'command\.goto'"),
        ({"goto": ["a", {}]}, r"'command\.goto\[1\]'"),
        ({"update": "x"}, r"'command\.update'"),
        ({"update": [["a"]]}, r"'command\.update'"),
        ({"update": [[1, 2]]}, r"'command\.update'"),
    ],
)
def test_a_wrong_command_is_refused_with_its_part(command: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        to_input(None, command)


def test_a_context_fits_the_type_the_graph_wants() -> None:
    @dataclass
    class Defaults:
        model: str = "small"

    @dataclass
    class Required:
        model: str

    class Model(BaseModel):
        model: str = "small"

    class Typed(TypedDict):
        model: str

    class State(TypedDict):
        a: int

    def graph(schema: Any) -> Any:
        builder = StateGraph(State, context_schema=schema).add_node("n", lambda _: None)
        return builder.add_edge(START, "n").compile()

    given = {"model": "big", "mirrored": 1, "langgraph_auth_user": "forged"}
    assert graph_context(graph(Defaults), given) == {"model": "big"}
    assert graph_context(graph(Defaults), None) == {}
    assert graph_context(graph(Required), None) is None
    assert graph_context(graph(Model), None) == Model()
    assert graph_context(graph(Typed), given) == {"model": "big", "mirrored": 1}
    assert graph_context(graph(None), None) is None
    assert graph_context(graph(None), given) == {"model": "big", "mirrored": 1}
