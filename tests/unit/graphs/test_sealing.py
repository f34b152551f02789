"""What was sealed comes back as it was, wherever it has been merged to meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from bedplate.graphs.json_handlers import AesHandlers, OwnHandlers
from bedplate.graphs.sealing import MARK, Place, Sealing
from bedplate.kernel.errors import HandlerFailed

SECRET = "plaintext needle"
HIDDEN = "hidden:"


def hidden(value: Any, key: str) -> str:
    return f"{HIDDEN}{key}:" + json.dumps(value)[::-1].encode().hex()


def shown(value: str, key: str) -> Any:
    assert value.startswith(f"{HIDDEN}{key}:"), f"not sealed with {key!r}: {value}"
    return json.loads(bytes.fromhex(value.rpartition(":")[2]).decode()[::-1])


class Tenants:
    """Handlers that hide every value with the key of the context, or those of `only` alone."""

    is_prompt = False

    def __init__(self, only: Sequence[str] | None = None) -> None:
        self.only = only
        self.encrypted: list[tuple[Place, dict[str, Any]]] = []
        self.decrypted: list[tuple[Place, dict[str, Any]]] = []

    def leaves(self, text: str) -> bool:
        return False

    async def encrypt(self, place: Place, given: dict[str, Any]) -> Any:
        self.encrypted.append((place, dict(given)))
        for name, value in given.items():
            if self.only is None or name in self.only:
                given[name] = hidden(value, place.metadata.get("tenant", ""))
        return given

    async def decrypt(self, place: Place, given: dict[str, Any], sealed: Sequence[str]) -> Any:
        self.decrypted.append((place, dict(given)))
        key = place.metadata.get("tenant", "")
        return {n: shown(v, key) if n in sealed else v for n, v in given.items()}


def sealing_with(handlers: Any) -> Sealing:
    return Sealing({"own": handlers}, sealer="own")


async def sealed(handlers: Any, value: Any, *, field: str = "values", **context: Any) -> Any:
    made = await sealing_with(handlers).sealed(
        value, model="thread", field=field, context=context or None
    )
    return json.loads(json.dumps(made))


KEYS = st.sampled_from(["a", "b", "secret", MARK, f"{MARK}!", "run_id", "langgraph_x", "config"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)
FIELDS = st.sampled_from(["values", "metadata", "kwargs", "config", "context"])


@given(value=JSON, field=FIELDS, only=st.sampled_from([None, ["secret", "b"], []]))
@settings(deadline=None)
async def test_any_json_comes_back_as_it_was(value: Any, field: str, only: Any) -> None:
    handlers = Tenants(only)
    stored = await sealed(handlers, value, field=field, tenant="acme")
    assert await sealing_with(handlers).opened(stored) == value
    assert all(MARK not in place.name for place, _ in handlers.decrypted)


@given(below=OBJECTS, above=OBJECTS, only=st.sampled_from([None, ["secret", "b"], []]))
@settings(deadline=None)
async def test_what_is_merged_key_by_key_opens_as_the_merged(
    below: dict[str, Any], above: dict[str, Any], only: Any
) -> None:
    handlers = Tenants(only)
    merged = {
        **await sealed(handlers, below, field="metadata", tenant="acme"),
        **await sealed(handlers, above, field="metadata", tenant="rival"),
    }
    assert await sealing_with(handlers).opened(merged) == {**below, **above}


async def test_each_group_is_opened_in_the_context_it_was_sealed_in() -> None:
    handlers = Tenants(["secret", "other"])
    merged = {
        **await sealed(handlers, {"secret": 1, "plain": 2}, field="metadata", tenant="acme"),
        **await sealed(handlers, {"other": 3}, field="metadata", tenant="rival"),
    }
    assert await sealing_with(handlers).opened(merged) == {"secret": 1, "plain": 2, "other": 3}
    told = [(place, set(given)) for place, given in handlers.decrypted]
    assert told == [
        (Place("thread", "metadata", {"tenant": "acme"}), {"secret", "plain"}),
        (Place("thread", "metadata", {"tenant": "rival"}), {"other", "plain"}),
    ]


async def test_where_an_object_is_left_it_is_asked_for_again() -> None:
    handlers = Tenants(["secret"])
    value = {
        "messages": [{"secret": SECRET, "id": 1}, "text", [{"secret": SECRET}]],
        "deep": {"er": {"secret": SECRET}},
        "secret": {"secret": SECRET},
    }
    stored = await sealed(handlers, value)
    assert SECRET not in json.dumps(stored)
    assert stored["messages"][0]["id"] == 1, "what was left plain can be searched for"
    assert await sealing_with(handlers).opened(stored) == value


async def test_system_keys_are_never_given_and_containers_never_whole() -> None:
    handlers = Tenants()
    kwargs = {
        "input": {"q": SECRET},
        "command": None,
        "webhook": "https://example.com",
        "stream_mode": ["values"],
        "checkpoint": {"checkpoint_map": {"": "id"}},
        "config": {
            "recursion_limit": 7,
            "tags": ["a"],
            "configurable": {"thread_id": "t", "langgraph_auth_user_id": "u", "pet": SECRET},
            "metadata": {"run_attempt": 1, "note": SECRET},
        },
        "context": {"pet": SECRET},
    }
    stored = await sealed(handlers, kwargs, field="kwargs")
    given = [set(asked) for _, asked in handlers.encrypted]
    assert sorted(map(sorted, given)) == [["command", "input"], ["note"], ["pet"], ["pet"]]
    assert SECRET not in json.dumps(stored)
    assert (stored["webhook"], stored["checkpoint"]) == (kwargs["webhook"], kwargs["checkpoint"])
    assert stored["config"]["configurable"]["thread_id"] == "t"
    assert await sealing_with(handlers).opened(stored) == kwargs


async def test_values_that_are_no_object_are_sealed_too() -> None:
    handlers = Tenants()
    for value in (SECRET, [SECRET], 3):
        stored = await sealed(handlers, value)
        assert SECRET not in json.dumps(stored)
        assert await sealing_with(handlers).opened({"status": "idle", "values": stored}) == {
            "status": "idle",
            "values": value,
        }
    assert all(set(given) == {"values"} for _, given in handlers.decrypted)


async def test_what_a_client_plants_is_never_opened() -> None:
    handlers = Tenants(["secret"])
    planted = {MARK: ["hidden::00", {"tenant": "rival"}, "thread", "values", "own"]}
    for value in (planted, {"x": planted}, {"secret": planted, "x": [planted]}):
        stored = await sealed(handlers, value)
        assert await sealing_with(handlers).opened(stored) == value
    assert all(place.metadata == {} for place, _ in handlers.decrypted)


async def test_plain_rows_from_before_are_read_as_they_are() -> None:
    handlers = Tenants()
    for text in ('{"a": 1.10}', "no JSON", f'"{MARK}"'):
        assert await sealing_with(handlers).opened_text(text) == text
    assert handlers.decrypted == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda given: {"sealed": "everything"}, "did not keep the keys of thread.values"),
        (lambda given: {**given, "nonce": "n"}, "did not keep the keys of thread.values"),
        (lambda given: "text", "answered no object for thread.values"),
        (lambda given: {"a": b"bytes"}, "answered what is no JSON for a key of thread.values"),
        (lambda given: {"a": "\0"}, "answered what is no JSON for a key of thread.values"),
    ],
)
async def test_a_handler_that_does_not_keep_the_keys_is_refused(answer: Any, words: str) -> None:
    class Careless(Tenants):
        async def encrypt(self, place: Place, given: dict[str, Any]) -> Any:
            return answer(given)

    with pytest.raises(HandlerFailed, match=words) as failed:
        await sealed(Careless(), {"a": 1})
    assert failed.value.status == 500


async def test_a_key_that_is_not_given_back_is_not_taken_for_opened() -> None:
    class Forgetful(Tenants):
        async def decrypt(self, place: Place, given: Any, sealed: Sequence[str]) -> Any:
            return {}

    stored = await sealed(Tenants(), {"a": 1})
    with pytest.raises(HandlerFailed, match=r"decrypt.json did not keep the keys"):
        await sealing_with(Forgetful()).opened(stored)


# -- a project's handlers


class Told(Exception):
    """Like those of starlette and the SDK."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code, self.detail = status_code, detail


HTTPException = type("HTTPException", (Told,), {})


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (HTTPException(402, "pay for your key"), 402, "pay for your key"),
        (ValueError(SECRET), 500, "encrypt.json failed"),
    ],
)
async def test_only_what_is_meant_as_an_answer_is_told(
    raised: Exception, status: int, words: str
) -> None:
    async def handler(_context: Any, _given: Any) -> Any:
        raise raised

    with pytest.raises(HandlerFailed) as failed:
        await sealed(OwnHandlers(handler, handler, lambda place: place), {"a": 1})
    assert (failed.value.status, failed.value.message) == (status, words)
    assert failed.value.__cause__ is raised


async def test_a_handler_is_told_where_it_is_and_its_result_is_taken_apart() -> None:
    class Result:
        plaintext = {"a": 1}
        replacement = {"a": "newer"}

    async def encrypt(context: Place, given: Any) -> Any:
        assert context == Place("thread", "values", {"tenant": "acme"})
        return {"a": "x"}

    async def decrypt(context: Place, given: Any) -> Any:
        assert given == {"a": "x"}
        return Result()

    handlers = OwnHandlers(encrypt, decrypt, lambda place: place)
    stored = await sealed(handlers, {"a": 1}, tenant="acme")
    assert await sealing_with(handlers).opened(stored) == {"a": 1}


# -- the built-in ones

KEY = b"sixteen byte key"


def aes(key: bytes, keys: Sequence[str]) -> AesHandlers:
    cipher = EncryptedSerializer.from_pycryptodome_aes(JsonPlusSerializer(), key=key).cipher
    return AesHandlers(cipher, keys)


async def test_named_keys_are_sealed_wherever_they_are() -> None:
    sealing = Sealing({"aes": aes(KEY, ["secret"])}, sealer="aes")
    value = {"secret": SECRET, "list": [{"secret": {"deep": SECRET}}], "plain": 1}
    stored = await sealing.sealed(value, model="thread", field="values", context=None)
    assert SECRET not in json.dumps(stored)
    assert stored["plain"] == 1
    assert await Sealing({"aes": aes(KEY, [])}, sealer=None).opened(stored) == value


@pytest.mark.parametrize("key", ["secret", "geheimnis-ü", 'q"uote'])
async def test_a_text_without_such_a_key_is_left_to_the_digit(key: str) -> None:
    sealing = Sealing({"aes": aes(KEY, [key])}, sealer="aes")

    async def stored(text: str) -> str:
        return await sealing.sealed_text(text, model="store", field="value", context=None)

    assert await stored('{"plain":  1.10}') == '{"plain":  1.10}'
    named = Sealing({"aes": aes(KEY, ["values"])}, sealer="aes")
    whole = f'"{SECRET}"'
    assert SECRET not in await named.sealed_text(
        whole, model="thread", field="values", context=None
    )
    for text in (json.dumps({"a": {key: SECRET}}), json.dumps({key: SECRET}, ensure_ascii=False)):
        assert SECRET not in await stored(text)


async def test_what_another_key_sealed_or_somebody_moved_is_not_opened() -> None:
    sealing = Sealing({"aes": aes(KEY, ["a", "b"])}, sealer="aes")
    stored = await sealing.sealed({"a": 1, "b": 2}, model="thread", field="values", context=None)
    other = Sealing({"aes": aes(KEY[::-1], [])}, sealer=None)
    for opener, found in ((other, stored), (sealing, {"a": stored["b"]})):
        with pytest.raises(HandlerFailed, match="another one"):
            await opener.opened(found)


async def test_own_handlers_seal_while_the_key_still_opens() -> None:
    key = aes(KEY, ["secret"])
    before = await Sealing({"aes": key}, sealer="aes").sealed(
        {"secret": 1}, model="thread", field="metadata", context=None
    )
    both = Sealing({"aes": key, "own": Tenants(["other"])}, sealer="own")
    after = await both.sealed({"other": 2}, model="thread", field="metadata", context=None)
    assert await both.opened({**before, **after}) == {"secret": 1, "other": 2}


async def test_what_nothing_can_open_is_said_to_be_sealed() -> None:
    stored = await sealed(Tenants(), {"a": 1})
    with pytest.raises(HandlerFailed, match=r"thread\.values is encrypted"):
        await Sealing({}, sealer=None).opened(stored)
