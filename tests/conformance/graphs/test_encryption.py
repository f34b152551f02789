"""What stands in the checkpoint tables cannot be read without the key, and everything works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command
from langgraph_sdk import EncryptionContext

from bedplate.graphs.config import load_config
from bedplate.graphs.encryption import aes_cipher, aes_serde, own_encryption, sealing_of
from bedplate.graphs.saver import PostgresSaver
from bedplate.graphs.seals import Seals
from bedplate.graphs.serde import strict_serde
from bedplate.kernel.errors import Refused

KEY = "sixteen byte key"
SECRET = "the moon is made of cheese"


async def turned(_context: Any, blob: bytes) -> bytes:
    """No encryption, but nothing that is searched for is found in it."""
    return bytes(255 - byte for byte in blob)


def context_of(metadata: Mapping[str, Any]) -> EncryptionContext:
    return EncryptionContext(model="checkpoint", metadata=dict(metadata))


def seals() -> Seals:
    return Seals(turned, turned, context_of)


@pytest.fixture(params=["aes", "own handlers"])
async def hiding(request: pytest.FixtureRequest, tables: Any) -> PostgresSaver:
    """A saver that encrypts; the tables' own does not."""
    if request.param == "aes":
        serde = aes_serde(strict_serde(), {"LANGGRAPH_AES_KEY": KEY})
        return PostgresSaver(tables.pool, tables.committer, serde=serde)
    return PostgresSaver(tables.pool, tables.committer, seals=seals())


async def _text_of(talk: Any) -> str:
    rows = await talk.rows()
    return repr([row for table in rows.values() for row in table])


async def test_no_value_stands_readable_in_the_tables(
    talk: Any, graphs: Any, hiding: PostgresSaver, tables: Any
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=2))
    await chat.say(SECRET, turns=3, saver=hiding)
    assert SECRET not in await _text_of(chat)
    # Numbers and texts stand in a checkpoint's own JSON otherwise.
    inline = await tables.pool.fetch(
        "SELECT DISTINCT value::text FROM checkpoints,"
        " jsonb_each(checkpoint -> 'channel_values') WHERE thread_id = $1",
        chat.thread_id,
    )
    assert {row["value"] for row in inline} <= {"true"}, "marks of snapshots, no values"
    values = await chat.values(hiding)
    assert graphs.texts(values) == [SECRET, "answer 1", "answer 2", "answer 3"]
    assert (values["turns"], values["log"][0]) == (0, SECRET)


async def test_questions_are_answered_and_states_read(
    talk: Any, graphs: Any, hiding: PostgresSaver
) -> None:
    asked = talk(graphs.approval())
    await asked.run({"messages": [HumanMessage(SECRET)]}, saver=hiding)
    await asked.run(Command(resume="yes"), saver=hiding)
    await asked.run(Command(resume="sure"), saver=hiding)
    assert SECRET not in await _text_of(asked)
    assert graphs.texts(await asked.values(hiding))[-1] == "closed"
    states = await asked.states(hiding)
    questions = [i.value for _, _, tasks in states.values() for task in tasks for i in task]
    assert questions == ["second?"]


async def test_a_thread_from_before_is_read_and_goes_on_encrypted(
    talk: Any, graphs: Any, hiding: PostgresSaver
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=2))
    await chat.say("in the open", turns=2)
    await chat.say(SECRET, turns=2, saver=hiding)
    assert SECRET not in await _text_of(chat)
    texts = ["in the open", "answer 1", "answer 2", SECRET, "answer 4", "answer 5"]
    assert graphs.texts(await chat.values(hiding)) == texts


async def test_what_a_key_has_encrypted_is_read_where_handlers_encrypt_by_now(
    talk: Any, graphs: Any, tables: Any
) -> None:
    environ = {"LANGGRAPH_AES_KEY": KEY}
    key = PostgresSaver(tables.pool, tables.committer, serde=aes_serde(strict_serde(), environ))
    own = Seals(turned, turned, context_of, cipher=aes_cipher(environ))
    chat = talk(graphs.chat(snapshot_frequency=2))
    await chat.say("with the key", turns=2, saver=key)
    handlers = PostgresSaver(tables.pool, tables.committer, seals=own)
    await chat.say(SECRET, turns=2, saver=handlers)
    assert SECRET not in await _text_of(chat)
    texts = ["with the key", "answer 1", "answer 2", SECRET, "answer 4", "answer 5"]
    assert graphs.texts(await chat.values(handlers)) == texts


async def test_each_value_is_opened_in_the_context_it_was_sealed_in(
    talk: Any, graphs: Any, tables: Any
) -> None:
    """Also by readers that have none."""

    async def shifted(context: EncryptionContext, blob: bytes) -> bytes:
        return bytes((byte + context.metadata.get("by", 0)) % 256 for byte in blob)

    async def shifted_back(context: EncryptionContext, blob: bytes) -> bytes:
        return bytes((byte - context.metadata.get("by", 0)) % 256 for byte in blob)

    own = Seals(shifted, shifted_back, context_of)
    saver = PostgresSaver(tables.pool, tables.committer, seals=own)
    chat = talk(graphs.chat(snapshot_frequency=2))
    await chat.say(SECRET, turns=2, saver=saver.under({"by": 3, "for": "acme"}))
    assert SECRET not in await _text_of(chat)
    await chat.say("more", turns=1, saver=saver.under({"by": 100}))
    texts = [SECRET, "answer 1", "answer 2", "more", "answer 4"]
    assert graphs.texts(await chat.values(saver)) == texts


async def test_the_metadata_of_a_checkpoint_is_sealed_and_still_found_by_what_is_plain(
    talk: Any, graphs: Any, tables: Any
) -> None:
    environ = {"LANGGRAPH_AES_KEY": KEY, "LANGGRAPH_AES_JSON_KEYS": "secret"}
    sealing = sealing_of(None, environ)
    saver = PostgresSaver(tables.pool, tables.committer, sealing=sealing)
    chat = talk(graphs.chat(snapshot_frequency=2))
    await chat.say("hello", turns=1, saver=saver)
    await saver.apatch_newest(chat.thread_id, {"secret": SECRET, "kind": "seen"})
    assert SECRET not in await _text_of(chat)
    config: Any = {"configurable": {"thread_id": chat.thread_id}}
    found = [each async for each in saver.alist(config, filter={"kind": "seen"})]
    assert [each.metadata["secret"] for each in found] == [SECRET]  # pyright: ignore
    assert [each async for each in saver.alist(config, filter={"secret": SECRET})] == []


async def test_the_stock_saver_with_the_same_key_goes_on(
    talk: Any, graphs: Any, stock: Any, tables: Any
) -> None:
    serde = aes_serde(strict_serde(), {"LANGGRAPH_AES_KEY": KEY})
    ours = PostgresSaver(tables.pool, tables.committer, serde=serde)
    stock.serde = EncryptedSerializer.from_pycryptodome_aes(JsonPlusSerializer(), key=KEY.encode())
    chat = talk(graphs.chat(snapshot_frequency=2))
    await chat.say("ours", turns=2, saver=ours)
    await chat.say("theirs", turns=2, saver=stock)
    await chat.say("ours again", turns=1, saver=ours)
    assert graphs.texts(await chat.values(ours)) == graphs.texts(await chat.values(stock))
    assert graphs.texts(await chat.values(ours))[-2:] == ["ours again", "answer 7"]


async def test_what_a_handler_raises_is_told_in_its_words(
    talk: Any, graphs: Any, tables: Any
) -> None:
    async def away(_context: Any, _blob: bytes) -> bytes:
        raise ConnectionError("the key service is away")

    broken = Seals(away, away, context_of)
    chat = talk(graphs.chat())
    with pytest.raises(ConnectionError, match="the key service is away"):
        await chat.say(SECRET, saver=PostgresSaver(tables.pool, tables.committer, seals=broken))
    assert SECRET not in await _text_of(chat)


# -- what is refused

HANDLERS = """
from langgraph_sdk import Encryption

encryption = Encryption()
"""
BLOB = """
@encryption.{0}.blob
async def {0}_blob(ctx, blob):
    return blob
"""
JSON = """
@encryption.{0}.json
async def {0}_json(ctx, data):
    return data
"""


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Any]:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"g": "m:g"}}')

    def make(source: str) -> Any:
        (tmp_path / "keys.py").write_text(source)
        return load_config(tmp_path)

    return make


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (HANDLERS, "neither for blobs nor for JSON"),
        (HANDLERS + BLOB.format("decrypt"), "no handler for encrypt.blob"),
        (HANDLERS + BLOB.format("encrypt"), "no handler for decrypt.blob"),
        (
            HANDLERS + BLOB.format("encrypt") + BLOB.format("decrypt") + JSON.format("encrypt"),
            "no handler for decrypt.json",
        ),
        ("encryption = 1", "must be a langgraph_sdk.Encryption"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_handlers_that_would_leave_something_readable_are_refused(
    project: Callable[[str], Any], source: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        own_encryption({"path": "./keys.py:encryption"}, project(source))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"LANGGRAPH_AES_KEY": "hunter2"}, "LANGGRAPH_AES_KEY has 7 bytes"),
        ({"LANGGRAPH_AES_JSON_KEYS": "email"}, "needs LANGGRAPH_AES_KEY"),
        ({"LANGGRAPH_AES_KEY": KEY, "LANGGRAPH_AES_JSON_KEYS": "a, run_id"}, "names 'run_id'"),
        ({"LANGGRAPH_AES_KEY": KEY, "LANGGRAPH_AES_JSON_KEYS": "langgraph_x"}, "'langgraph_x'"),
        ({"LANGGRAPH_AES_KEY": KEY, "LANGGRAPH_AES_JSON_KEYS": "context"}, "name keys in it"),
    ],
)
def test_a_wrong_key_is_refused_without_being_shown(environ: dict[str, str], words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        sealing_of(None, environ)
    assert "hunter2" not in refused.value.message
