"""What is told, how it is signed, and what follows from an answer."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest

from bedplate.graphs.sealing import Place, Sealing
from bedplate.kernel.errors import Refused
from bedplate.ledger.deliveries import Due
from bedplate_webhook_dispatcher.courier import Answered, Barred, Failed, Result
from bedplate_webhook_dispatcher.payload import body_of, members_of, opened
from bedplate_webhook_dispatcher.signing import key_of, message_id, signature
from bedplate_webhook_dispatcher.verdict import Patience, verdict_of

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
PATIENCE = Patience(window_s=86_400, base_s=2, delay_s_max=3600)


def due(**changed: Any) -> Due:
    known: dict[str, Any] = {
        "delivery_id": UUID(int=1),
        "tenant": "default",
        "run_id": UUID(int=2),
        "url": "https://x.test/",
        "destination": "https://x.test",
        "tries": 1,
        "tries_of_round": 1,
        "age_s": 0.0,
        "run": '{"run_id" : "r", "status" : "success", "kwargs" : {"n": 1.50, "big": 1e400}}',
        "run_started_at": None,
        "run_ended_at": AT,
        "values": '{"a": 12345678901234567890123}',
        "error": None,
    }
    return Due(**(known | changed))


# -- what is encrypted


async def test_what_is_encrypted_is_told_as_it_was_said() -> None:
    sealing = Sealing({"own": Turning()}, sealer="own")
    values = await sealing.sealed({"a": "secret"}, model="thread", field="values", context=None)
    run = await sealing.sealed({"a": "secret"}, model="run", field="metadata", context=None)
    assert "secret" not in json.dumps([values, run])
    told = await opened(due(values=json.dumps(values), run=json.dumps({"m": run})), sealing)
    body = json.loads(body_of(told, sent_at=AT, allowed_fields=None))
    assert (body["values"], body["m"]) == ({"a": "secret"}, {"a": "secret"})


async def test_where_nothing_is_encrypted_it_is_told_to_the_digit() -> None:
    sealing = Sealing({"own": Turning()}, sealer="own")
    assert await opened(due(), sealing) == due() == await opened(due(), None)


class Turning:
    """Texts backwards."""

    is_prompt = False

    def leaves(self, text: str) -> bool:
        return False

    async def encrypt(self, place: Place, given: dict[str, Any]) -> dict[str, Any]:
        return {name: text[::-1] for name, text in given.items()}

    async def decrypt(self, place: Place, given: dict[str, Any], sealed: Any) -> dict[str, Any]:
        return {name: text[::-1] for name, text in given.items()}


# -- signatures


def test_the_signature_is_that_of_the_reference() -> None:
    """Source: the tests of the Standard Webhooks reference libraries."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(
        [key],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_replaced_both_sign() -> None:
    old, new = b"o" * 24, b"n" * 24
    both = signature([old, new], "m", timestamp=1, body=b"{}")
    assert both.split(" ") == [signature([key], "m", timestamp=1, body=b"{}") for key in (old, new)]


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_secret_of_a_legal_size_is_taken(size: int) -> None:
    assert key_of("whsec_" + base64.b64encode(b"x" * size).decode()) == b"x" * size


@pytest.mark.parametrize(
    "secret",
    ["", "plain", "whsec_", "whsec_not-base64!", "whsec_c2hvcnQ=",
     "whsec_" + base64.b64encode(b"x" * 65).decode()],
)  # fmt: skip
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(Refused) as refused:
        key_of(secret)
    assert secret.removeprefix("whsec_") == "" or secret not in refused.value.message


def test_a_delivery_has_one_id() -> None:
    assert message_id(UUID(int=1)) == "msg_00000000000000000000000000000001"


# -- the payload


def test_the_runs_row_is_told_to_the_digit() -> None:
    body = body_of(due(error='no "luck"'), sent_at=AT, allowed_fields=None).decode()
    assert '"kwargs":{"n": 1.50, "big": 1e400}' in body
    assert '"values":{"a": 12345678901234567890123}' in body
    told = json.loads(body)
    assert told["error"] == 'no "luck"'
    assert told["run_started_at"] is None
    assert told["run_ended_at"] == told["webhook_sent_at"] == "2026-01-02T03:04:05.000678+00:00"
    assert list(told) == [
        "run_id", "status", "kwargs", "run_started_at", "run_ended_at", "webhook_sent_at",
        "values", "error",
    ]  # fmt: skip


def test_without_values_they_are_null() -> None:
    assert json.loads(body_of(due(values=None), sent_at=AT, allowed_fields=None))["values"] is None


def test_only_allowed_fields_are_told() -> None:
    body = body_of(due(), sent_at=AT, allowed_fields=["status", "values", "nothing"])
    assert body == b'{"status":"success","values":{"a": 12345678901234567890123}}'


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("{}", {}),
        (" { } ", {}),
        ('{"a":1}', {"a": "1"}),
        ('{ "a" : "}\\",{" , "b":[1, {"c":2}] }', {"a": '"}\\",{"', "b": '[1, {"c":2}]'}),
        ('{"a":null,\n"a":true}', {"a": "true"}),
    ],
)
def test_an_object_is_taken_apart_without_being_understood(
    text: str, members: dict[str, str]
) -> None:
    assert members_of(text) == members


# -- what follows


def verdict(result: Result, **changed: Any) -> Any:
    return verdict_of(result, due(**changed), patience=PATIENCE, rng=Random(7))


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_any_2xx_is_delivered(code: int) -> None:
    assert verdict(Answered(code)).status == "delivered"


@pytest.mark.parametrize(
    "result",
    [*map(Answered, (408, 425, 429, 500, 502, 503, 504, 599)), Failed("no answer within 30 s")],
)
def test_what_may_pass_is_tried_again(result: Result) -> None:
    found = verdict(result)
    assert found.status == "pending" and 0 <= found.retry_s <= 2


@pytest.mark.parametrize(
    "result", [*map(Answered, (100, 303, 304, 400, 401, 403, 404, 410, 422)), Barred("a rule")]
)
def test_what_will_not_change_is_a_dead_letter(result: Result) -> None:
    found = verdict(result)
    assert found.status == "dead" and found.error


def test_delays_double_up_to_a_limit_with_jitter() -> None:
    rng = Random(7)
    for tries, ceiling in ((1, 2), (2, 4), (5, 32), (12, 3600), (60, 3600)):
        delays = [
            verdict_of(Failed("no"), due(tries_of_round=tries), patience=PATIENCE, rng=rng).retry_s
            for _ in range(200)
        ]
        assert all(delay is not None and 0 <= delay <= ceiling for delay in delays)
        assert max(delay or 0 for delay in delays) > 0.8 * ceiling


def test_after_its_window_a_delivery_is_given_up() -> None:
    assert verdict(Failed("no"), age_s=86_390).status == "pending"
    found = verdict(Answered(503), age_s=86_400.1)
    assert (found.status, found.status_code, found.error) == ("dead", 503, "HTTP 503")


def test_a_receiver_may_ask_for_time_within_limits() -> None:
    assert verdict(Answered(429, retry_after_s=100)).retry_s == 100
    assert verdict(Answered(503, retry_after_s=1e9)).retry_s == 3600
