"""What stands in the database is data: it is read, never run."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID, uuid4

import ormsgpack
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import START, StateGraph
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from bedplate.graphs.saver import PostgresSaver
from bedplate.graphs.serde import Unserialisable, serde_from_config, strict_serde
from bedplate.kernel.errors import Refused


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@dataclass
class Plain:
    n: int


class Model(BaseModel):
    n: int


def place(thread_id: str, checkpoint_id: str | None = None) -> Any:
    found: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id is not None:
        found["checkpoint_id"] = checkpoint_id
    return {"configurable": found}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_class_in_the_database_is_not_imported_and_a_pickle_is_not_loaded(
    tables: Any, tmp_path: Path
) -> None:
    def call(module: str, name: str, argument: Any) -> bytes:
        body = ormsgpack.packb((module, name, argument))
        return ormsgpack.packb(ormsgpack.Ext(0, body))

    mark = tmp_path / "ran"
    command = f"touch {mark}"
    thread_id, checkpoint_id = str(uuid4()), str(uuid6())
    await tables.saver.aput(place(thread_id), {**empty_checkpoint(), "id": checkpoint_id}, {}, {})
    for idx, (type_, blob) in enumerate(
        [
            ("msgpack", call("os", "system", command)),
            ("msgpack", call("subprocess", "getoutput", command)),
            (
                "msgpack",
                ormsgpack.packb(
                    ormsgpack.Ext(3, ormsgpack.packb(("os", "path", command, "system")))
                ),
            ),
            (
                "json",
                b'{"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["%s"]}'
                % command.encode(),
            ),
        ]
    ):
        await tables.pool.execute(
            "INSERT INTO checkpoint_writes VALUES ($1, '', $2, 'task', $3, 'c', $4, $5)",
            thread_id,
            checkpoint_id,
            idx,
            type_,
            blob,
        )

    found = await tables.saver.aget_tuple(place(thread_id))

    assert [value for _, _, value in found.pending_writes][:3] == [command] * 3
    assert not mark.exists()

    await tables.pool.execute(
        "INSERT INTO checkpoint_writes VALUES ($1, '', $2, 'task', 9, 'c', 'pickle', $3)",
        thread_id,
        checkpoint_id,
        pickle.dumps(Trap(mark)),
    )
    with pytest.raises(NotImplementedError, match="pickle"):
        await tables.saver.aget_tuple(place(thread_id))
    assert not mark.exists()


async def test_safe_types_come_back_and_others_as_their_fields(tables: Any) -> None:
    values: dict[str, Any] = {
        "message": HumanMessage("hi"),
        "send": Send("node", {"x": 1}),
        "interrupt": Interrupt(value="?", id="i"),
        "uuid": UUID(int=7),
        "set": {1, 2},
        "bytes": b"\0\1",
        "plain": Plain(1),
        "model": Model(n=2),
    }
    thread_id = str(uuid4())
    checkpoint: Any = {
        **empty_checkpoint(),
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, "1"),
    }
    await tables.saver.aput(place(thread_id), checkpoint, {}, checkpoint["channel_versions"])

    found = (await tables.saver.aget_tuple(place(thread_id))).checkpoint["channel_values"]
    assert found == {**values, "plain": {"n": 1}, "model": {"n": 2}}

    # What a project's langgraph.json allows, or the schema of a graph.
    allowed = [[__name__, "Plain"]]
    widened = PostgresSaver(
        tables.pool,
        tables.committer,
        serde=serde_from_config({"serde": {"allowed_msgpack_modules": allowed}}),
    ).with_allowlist({(__name__, "Model")})
    assert isinstance(widened, PostgresSaver)
    serde = widened.serde
    assert {(__name__, "Plain"), (__name__, "Model")} <= serde._allowed_msgpack_modules  # type: ignore


TYPED_GRAPH = """
import asyncio, dataclasses, enum, sys
from typing import TypedDict
from uuid import uuid4

import asyncpg
from bedplate.graphs.committer import Committer
from bedplate.graphs.saver import PostgresSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    colour: Colour


@dataclasses.dataclass
class Plain:
    models: list[Model]


class State(TypedDict):
    plain: Plain
    seen: str


def ask(state: State) -> State:
    interrupt("?")
    return {"seen": repr(state["plain"])}


async def main() -> None:
    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    place = {"configurable": {"thread_id": str(uuid4())}}
    async with asyncpg.create_pool(sys.argv[1], min_size=1, max_size=2) as pool:
        saver = PostgresSaver(pool, Committer(pool))
        compiled = graph.compile(checkpointer=saver)
        await compiled.ainvoke({"plain": Plain([Model(colour=Colour.RED)])}, place)
        print((await compiled.ainvoke(Command(resume=1), place))["seen"])


asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("strict", "seen"),
    [
        ("true", "Plain(models=[Model(colour=<Colour.RED: 'red'>)])"),
        ("false", "{'models': [{'colour': 'red'}]}"),
    ],
)
async def test_the_types_of_a_graphs_state_come_back_when_langgraph_is_told_to_be_strict(
    uri: str, strict: str, seen: str
) -> None:
    # LangGraph reads the switch when it is imported. Without it a graph does not say its types, and
    # ours revives none that it was not told of.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TYPED_GRAPH, uri),
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": strict},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert output.decode().strip().splitlines()[-1:] == [seen]


@pytest.mark.parametrize(
    ("serde", "named"),
    [
        ({"pickle_fallback": True}, "pickle_fallback"),
        ({"allowed_msgpack_modules": True}, "allowed_msgpack_modules"),
        ({"allowed_msgpack_modules": "a.B"}, "allowed_msgpack_modules"),
        ({"allowed_msgpack_modules": ["B"]}, "allowed_msgpack_modules"),
        ({"allowed_json_modules": [["a", 1]]}, "allowed_json_modules"),
        ([], None),
        ("x", "serde"),
    ],
)
def test_a_malformed_serde_block_is_refused_by_name(serde: Any, named: str | None) -> None:
    if named is None:
        assert serde_from_config({"serde": serde}) is not None
        return
    with pytest.raises(Refused, match=named):
        serde_from_config({"serde": serde})


def test_classes_are_named_as_lists_or_with_dots_or_a_colon() -> None:
    serde = serde_from_config(
        {
            "serde": {
                "allowed_msgpack_modules": ["a.b.C", "a.b:D", ["e", "F"]],
                "pickle_fallback": False,
            }
        }
    )
    assert serde._allowed_msgpack_modules == {("a.b", "C"), ("a.b", "D"), ("e", "F")}
    assert serde_from_config({})._allowed_msgpack_modules is None


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_graph_that_returns_something_unserialisable_ends_in_a_clear_error(
    talk: Any, durability: str
) -> None:
    async def node(state: dict[str, Any]) -> dict[str, Any]:
        return {"found": {"f": open}}

    graph = StateGraph(TypedDict("State", {"found": Any}))
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    talk = talk(graph, durability)

    with pytest.raises(Unserialisable, match=r"channel 'found'.*builtins\.dict.*builtin_function"):
        await talk.run({"found": 1})


async def test_numbers_and_text_of_every_kind_survive_in_the_checkpoint_itself(
    tables: Any, stock: Any
) -> None:
    values: dict[str, Any] = {
        "huge": 2**80,
        "float": 1e-7,
        "inf": float("inf"),
        "text": "é🙂 \\u0000",
        "none": None,
        "true": True,
    }
    thread_id = str(uuid4())
    checkpoint: Any = {
        **empty_checkpoint(),
        "channel_values": {**values, "nul": "a\0b", "half": "\ud83d"},
        "channel_versions": dict.fromkeys([*values, "nul", "half"], "1"),
    }
    await tables.saver.aput(
        place(thread_id),
        checkpoint,
        {"note": "x\0y", "deep": {"k": ["\0"]}},
        checkpoint["channel_versions"],
    )

    expected = {**values, "nul": "a\ufffdb", "half": "\ufffd"}
    for saver in (tables.saver, stock):
        found = await saver.aget_tuple(place(thread_id))
        assert found.checkpoint["channel_values"] == expected
        assert found.metadata["deep"] == {"k": ["\ufffd"]}


async def test_metadata_that_is_not_json_is_refused_with_a_clear_error(tables: Any) -> None:
    with pytest.raises(Unserialisable, match="metadata"):
        await tables.saver.aput(place(str(uuid4())), empty_checkpoint(), {"note": object()}, {})


async def test_credentials_in_configurable_are_not_stored(talk: Any, graphs: Any) -> None:
    talk = talk(graphs.steps())
    secrets = {
        "openai_api_key": "s1",
        "x-access-Token": "s2",
        "client_secret": "s3",
        "db_password": "s4",
        "Authorization": "s5",
        "cookie": "s6",
    }
    await talk.run({"turns": 2}, **secrets, user_id="u1", langgraph_auth_user_id="u2", depth=3)

    rows = await talk.rows()
    for row in rows["checkpoints"]:
        assert '"user_id": "u1"' in row[-1]
        assert '"langgraph_auth_user_id": "u2"' in row[-1]
        assert '"depth": 3' in row[-1]
    for secret in secrets.values():
        assert f'"{secret}"' not in repr(rows)


def test_nothing_is_allowed_unless_it_is_named() -> None:
    assert strict_serde()._allowed_msgpack_modules is None
    assert strict_serde().pickle_fallback is False
