"""A project that encrypts: nothing that its clients and graphs say stands readable in the database,
and every way to read it shows it as it was said."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.encrypted import headers_of, places_of, value_of
from bedplate.testing.eventually import eventually
from bedplate.testing.receivers import receiving

GRAPHS = Path(__file__).parents[1] / "graphs"
SEALED = GRAPHS / "sealed" / "langgraph.json"
NEEDLE = "plaintext needle"
EVERY_SECOND = "* * * * * *"


@pytest.fixture(scope="module")
def sealed(run_stack: Any) -> Stack:
    return run_stack(SEALED)


@pytest.fixture
async def client_of(sealed: Stack) -> AsyncIterator[Callable[..., LangGraphClient]]:
    """`client_of("alice@acme", project="x")`: the SDK as her, in this context."""
    async with AsyncExitStack() as clients:

        def of(name: str, **context: Any) -> LangGraphClient:
            client = get_client(url=sealed.url, api_key=None, headers=headers_of(name, **context))
            clients.push_async_callback(client.aclose)
            return client

        yield of


@pytest.fixture
async def http(sealed: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sealed.url, timeout=30) as opened:
        yield opened


async def test_assistants_threads_and_items_are_read_as_they_were_written(
    client_of: Any, sealed: Stack
) -> None:
    alice = client_of("alice@acme", project="x")
    said = {"note": NEEDLE, "kind": "seen", "deep": [{"note": NEEDLE}]}
    assistant = await alice.assistants.create(
        "keeps", metadata=said, config={"configurable": {"pet": NEEDLE}, "tags": ["t"]}
    )
    assistant_id = assistant["assistant_id"]
    expected = {**said, "owner": "alice"}
    assert assistant["metadata"] == expected
    assert assistant["config"]["configurable"] == assistant["context"] == {"pet": NEEDLE}
    updated = await alice.assistants.update(assistant_id, metadata={"more": NEEDLE})
    assert updated["metadata"] == {**expected, "more": NEEDLE}
    [newest, first] = await alice.assistants.get_versions(assistant_id)
    assert (newest["metadata"], first["metadata"]) == (updated["metadata"], expected)
    back = await alice.assistants.set_latest(assistant_id, 1)
    assert back["metadata"] == expected
    [searched] = await alice.assistants.search(metadata={"kind": "seen"})
    assert searched["context"] == {"pet": NEEDLE}

    thread = await alice.threads.create(metadata=said)
    thread_id = thread["thread_id"]
    assert thread["metadata"] == expected
    changed = await alice.threads.update(thread_id, metadata={"more": NEEDLE})
    assert changed["metadata"] == {**expected, "more": NEEDLE}
    assert (await alice.threads.copy(thread_id))["metadata"] == changed["metadata"]
    told = await alice.runs.wait(
        thread_id,
        assistant_id,
        input={"secret": NEEDLE},
        metadata={"why": NEEDLE},
    )
    assert told["told"] == {"pet": NEEDLE, "note": NEEDLE, "token": f"{NEEDLE} of alice"}
    shown = await alice.threads.get(thread_id)
    assert shown["values"] == told
    assert shown["config"]["configurable"]["pet"] == NEEDLE
    extract = {"secret": "values.secret", "deep": "metadata.deep[-1].note", "none": "values.x[0]"}
    [page] = await alice.threads.search(ids=[thread_id], extract=extract)
    assert page["extracted"] == {"secret": NEEDLE, "deep": NEEDLE, "none": None}
    assert await alice.threads.count(metadata={"kind": "seen"}) >= 1
    assert await alice.threads.count(metadata={"note": NEEDLE}) == 0, "cannot be searched for"

    await alice.store.put_item(("notes",), "one", {"note": NEEDLE, "count": 2})
    assert (await alice.store.get_item(("notes",), "one"))["value"]["note"] == NEEDLE
    found = (await alice.store.search_items(("notes",), filter={"count": {"$gt": 1}}))["items"]
    assert [item["value"]["note"] for item in found] == [NEEDLE]
    kept = await alice.store.get_item(("kept",), "item")
    assert kept["value"] == {"note": NEEDLE, "count": 1}

    stored = await value_of(
        sealed, "SELECT metadata::text FROM threads WHERE thread_id = $1::uuid", thread_id
    )
    context = json.loads(stored)["note"]["__sealed__"][1:]
    assert context == [{"tenant": "acme", "project": "x"}, "thread", "metadata", "own"]
    # Whoever reads needs no context of their own.
    assert (await client_of("alice@acme").threads.get(thread_id))["metadata"]["note"] == NEEDLE
    assert await places_of(sealed, NEEDLE) == []


async def test_runs_states_and_questions_are_read_as_they_were_said(
    client_of: Any, sealed: Stack
) -> None:
    bob = client_of("bob@rival")
    thread_id = (await bob.threads.create())["thread_id"]
    with receiving() as receiver:
        given: Any = {
            "input": {"secret": NEEDLE},
            "metadata": {"why": NEEDLE},
            "config": {"configurable": {"pet": NEEDLE}, "metadata": {"trace": NEEDLE}},
            "webhook": f"{receiver.url}/ok",
        }
        run = await bob.runs.create(thread_id, "asks", **given)
        assert run["kwargs"]["input"] == {"secret": NEEDLE}
        assert run["metadata"]["why"] == run["metadata"]["trace"] == NEEDLE
        await bob.runs.join(thread_id, run["run_id"])
        told = (await receiver.first_of(run)).told
    assert (told["values"]["secret"], told["kwargs"]["input"]) == (NEEDLE, {"secret": NEEDLE})
    assert told["metadata"]["why"] == NEEDLE
    row = await bob.runs.get(thread_id, run["run_id"])
    assert row["kwargs"]["config"]["configurable"]["pet"] == NEEDLE
    assert [each["kwargs"] for each in await bob.runs.list(thread_id)] == [row["kwargs"]]
    asked = await bob.threads.get(thread_id)
    [[question]] = asked["interrupts"].values()
    assert question["value"] == {"about": NEEDLE}
    answer = await bob.runs.wait(thread_id, "asks", command={"resume": {"said": NEEDLE}})
    assert answer["answer"] == {"said": NEEDLE}
    state = await bob.threads.get_state(thread_id)
    assert (state["values"]["secret"], state["metadata"]["owner"]) == (NEEDLE, "bob")
    await bob.threads.update_state(thread_id, {"answer": f"{NEEDLE} again"})
    assert (await bob.threads.get(thread_id))["values"]["answer"] == f"{NEEDLE} again"
    await bob.http.patch(f"/threads/{thread_id}/state", json={"metadata": {"mark": NEEDLE}})
    states = await bob.threads.get_history(thread_id, limit=10)
    assert states[0]["metadata"]["mark"] == NEEDLE
    assert states[-1]["metadata"]["why"] == NEEDLE

    stateless = await bob.runs.wait(None, "keeps", input={"secret": NEEDLE})
    assert stateless["told"]["note"] == NEEDLE
    parts = [part async for part in bob.runs.stream(None, "keeps", input={"secret": NEEDLE})]
    assert parts[-1].data["secret"] == NEEDLE
    batch = await bob.runs.create_batch(
        [{"assistant_id": "keeps", "input": {"secret": NEEDLE}}] * 2
    )
    assert [each["kwargs"]["input"]["secret"] for each in batch] == [NEEDLE] * 2
    for each in batch:
        await bob.runs.join(each["thread_id"], each["run_id"])
    await bob.runs.delete(thread_id, row["run_id"])
    assert await places_of(sealed, NEEDLE) == []


async def test_crons_and_code_of_a_run_keep_the_context_they_were_made_in(
    client_of: Any, sealed: Stack
) -> None:
    alice = client_of("alice@acme", project="nightly")
    cron = await alice.crons.create(
        "keeps",
        schedule=EVERY_SECOND,
        input={"secret": NEEDLE},
        metadata={"why": NEEDLE},
        config={"configurable": {"pet": NEEDLE}},
        on_run_completed="keep",
    )
    assert (cron["metadata"]["why"], cron["payload"]["input"]) == (NEEDLE, {"secret": NEEDLE})

    async def fired() -> Any:
        found = await alice.threads.search(metadata={"cron_id": cron["cron_id"]}, status="idle")
        return found[0] if found and found[0]["values"] else None

    thread = await eventually(fired, within_s=20)
    assert thread["values"]["told"]["pet"] == thread["metadata"]["why"] == NEEDLE
    changed = await client_of("alice@acme", project="other").crons.update(
        cron["cron_id"], metadata={"more": NEEDLE}, enabled=False
    )
    assert changed["metadata"] == {"why": NEEDLE, "more": NEEDLE, "owner": "alice"}
    [searched] = await alice.crons.search(limit=1)
    assert searched["payload"]["config"]["configurable"] == {"pet": NEEDLE}
    contexts = await value_of(
        sealed,
        "SELECT run_order::json ->> 'encryption_context' FROM crons WHERE cron_id = $1::uuid",
        cron["cron_id"],
    )
    assert json.loads(contexts) == {"tenant": "acme", "project": "nightly"}
    [run] = await alice.runs.list(thread["thread_id"])
    kept = await value_of(
        sealed, "SELECT encryption_context FROM runs WHERE run_id = $1::uuid", run["run_id"]
    )
    assert json.loads(kept) == {"tenant": "acme", "project": "nightly"}

    told = (await alice.runs.wait(None, "calls", input={"secret": NEEDLE}))["told"]
    assert told["note"] == told["inner"]["told"]["note"] == NEEDLE
    stored = await value_of(
        sealed, "SELECT metadata::text FROM threads WHERE thread_id = $1::uuid", told["thread_id"]
    )
    assert json.loads(stored)["note"]["__sealed__"][1] == {"tenant": "acme", "project": "nightly"}
    assert await places_of(sealed, NEEDLE) == []


async def test_what_a_client_plants_is_given_back_and_opens_nothing(client_of: Any) -> None:
    alice = client_of("alice@acme")
    planted = {"__sealed__": ["toy:AAAA", {"tenant": "rival"}, "thread", "metadata", "own"]}
    given = {"kind": planted, "note": planted, "__sealed__": planted}
    thread = await alice.threads.create(metadata=given)
    assert thread["metadata"] == {**given, "owner": "alice"}
    assert (await alice.threads.get(thread["thread_id"]))["metadata"] == thread["metadata"]


async def test_a_run_of_a_killed_worker_goes_on_and_one_is_taken_back(
    client_of: Any, sealed: Stack, tmp_path: Path
) -> None:
    alice = client_of("alice@acme")
    thread_id = (await alice.threads.create())["thread_id"]
    journal, gate = tmp_path / "journal", tmp_path / "gate"
    given = {"secret": NEEDLE, "journal": str(journal), "gate": str(gate)}

    def workers() -> list[int]:
        return [int(line) for line in journal.read_text().split()] if journal.exists() else []

    def held() -> int:
        return len(workers())

    run = await alice.runs.create(thread_id, "holds", input=given)
    await eventually(held, equals=1, within_s=20)
    os.kill(workers()[-1], signal.SIGKILL)
    await eventually(held, equals=2, within_s=30)
    gate.touch()
    values = await alice.runs.join(thread_id, run["run_id"])
    assert values["answer"] == NEEDLE
    gate.unlink()
    await alice.runs.create(thread_id, "holds", input={**given, "secret": "other"})
    await eventually(held, equals=3, within_s=20)
    after = await alice.runs.create(
        thread_id, "keeps", input={"secret": NEEDLE}, multitask_strategy="rollback"
    )
    await alice.runs.join(thread_id, after["run_id"])
    assert (await alice.threads.get(thread_id))["values"]["secret"] == NEEDLE
    assert await places_of(sealed, NEEDLE) == []


# -- what cannot be encrypted is not written


async def test_a_header_that_is_no_context_is_422(http: httpx.AsyncClient) -> None:
    for header in ("%%%", base64.b64encode(b"[1]").decode(), base64.b64encode(b"{").decode()):
        headers = {**headers_of("alice@acme"), "x-encryption-context": header}
        answer = await http.post("/threads", json={}, headers=headers)
        assert answer.status_code == 422
        assert "X-Encryption-Context" in answer.json()["detail"]
    headers = headers_of("alice@acme", project="x" * 5000)
    assert (await http.post("/threads", json={}, headers=headers)).status_code == 422


@pytest.mark.parametrize(
    ("metadata", "status", "detail"),
    [
        ({"breaks": "keys"}, 500, "encrypt.json did not keep the keys of thread.metadata"),
        ({"breaks": "raises"}, 500, "encrypt.json failed"),
        ({"breaks": "answers"}, 402, "The key service wants to be paid."),
        (
            {"hides": "owner"},
            422,
            "metadata.owner: must not be encrypted: authorization filters by it",
        ),
    ],
)
async def test_a_write_that_cannot_be_encrypted_is_refused_and_nothing_is_stored(
    http: httpx.AsyncClient, sealed: Stack, metadata: Any, status: int, detail: str
) -> None:
    count = "SELECT count(*) FROM threads"
    before = await value_of(sealed, count)
    headers = headers_of("alice@acme")
    body: dict[str, Any] = {"metadata": {**metadata, "note": NEEDLE}}
    answer = await http.post("/threads", json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})
    assert ("x-price" in answer.headers) is (status == 402)
    body |= {"assistant_id": "keeps"}
    answer = await http.post("/runs", json=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["detail"] == detail.replace("thread.", "run.")
    assert await value_of(sealed, count) == before


async def test_what_cannot_be_decrypted_is_said_to_be_so_without_the_handlers_words(
    http: httpx.AsyncClient, sealed: Stack
) -> None:
    headers = headers_of("alice@acme")
    thread = (await http.post("/threads", json={"metadata": {"note": 1}}, headers=headers)).json()
    moved = "jsonb_set(metadata, '{note,__sealed__,1,tenant}', '\"rival\"')"
    await value_of(
        sealed,
        f"UPDATE threads SET metadata = {moved} WHERE thread_id = $1::uuid",
        thread["thread_id"],
    )
    answer = await http.get(f"/threads/{thread['thread_id']}", headers=headers)
    assert (answer.status_code, answer.json()) == (500, {"detail": "decrypt.json failed"})
    # Also what nobody can read any more can go.
    gone = await http.delete(f"/threads/{thread['thread_id']}", headers=headers)
    assert gone.status_code == 204


async def test_what_a_graph_says_and_cannot_be_encrypted_ends_its_run(client_of: Any) -> None:
    alice = client_of("alice@acme")
    thread_id = (await alice.threads.create())["thread_id"]
    run = await alice.runs.create(thread_id, "asks", input={"secret": 1})
    await alice.runs.join(thread_id, run["run_id"])
    failed = await alice.runs.wait(
        thread_id, "asks", command={"resume": "x", "update": {"breaks": "keys"}},
        raise_error=False,
    )  # fmt: skip
    assert failed["__error__"]["message"] == "encrypt.json did not keep the keys of thread.values"
    assert (await alice.threads.get(thread_id))["status"] == "error"
