"""One try over real sockets: names that resolve to where nobody may go, and receivers that lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bedplate.webhooks.rules import UrlRules
from bedplate_webhook_dispatcher.courier import Answered, Barred, Courier, Failed, Parcel

LENIENT = UrlRules(require_https=False, disable_loopback=False)
CAREFUL = UrlRules(require_https=False, disable_private_ips=True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Receiver:
    port: int = 0
    requests: list[bytes] = field(default_factory=list[bytes])
    answer: Callable[[bytes], bytes | None] = lambda _: OK
    """None: the connection stays open and silent."""


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        request = head + await reader.readexactly(length)
        receiver.requests.append(request)
        answer = receiver.answer(request)
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


class Names:
    """A resolver: each question takes the next answer, the last one for ever."""

    def __init__(self, **known: Sequence[Sequence[str]]) -> None:
        self._known = {name.replace("_", "."): list(answers) for name, answers in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        del port
        self.asked.append(host)
        if host not in self._known:
            raise OSError("no such name")
        answers = self._known[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def delivered(
    url: str, *, rules: UrlRules = LENIENT, names: Names | None = None, **settings: Any
) -> Any:
    known: dict[str, Any] = {"connect_s": 2, "whole_s": 5, "resolve": names}
    parcel = Parcel(url, b'{"a":1}', {"webhook-id": "m"}, {"x-key": "secret"})
    async with Courier(rules, **(known | settings)) as courier:
        return await courier.deliver(parcel)


async def test_a_delivery_is_a_post_with_a_length_and_the_name_as_host(receiver: Receiver) -> None:
    names = Names(hook_test=[["127.0.0.1"]])
    result = await delivered(f"http://hook.test:{receiver.port}/a?b=c%20d", names=names)
    assert result == Answered(200)
    (request,) = receiver.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a?b=c%20d HTTP/1.1"
    assert f"Host: hook.test:{receiver.port}".encode() in lines
    assert b"webhook-id: m" in lines and b"x-key: secret" in lines
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["127.0.0.1"],
        ["::1"],
        ["10.0.0.7"],
        ["192.168.1.1"],
        ["fd00::1"],
        ["::ffff:10.0.0.7"],
        ["fe80::1%lo"],
        ["0.0.0.0"],
        ["93.184.216.34", "10.0.0.7"],
    ],
)
async def test_a_name_that_resolves_to_an_address_inside_is_not_called(
    addresses: list[str],
) -> None:
    names = Names(inside_test=[addresses])
    result = await delivered("http://inside.test/", rules=CAREFUL, names=names)
    assert isinstance(result, Barred) and "resolves to" in result.why


async def test_the_address_that_was_judged_is_the_one_that_is_called(receiver: Receiver) -> None:
    """DNS rebinding: the second answer would lead elsewhere, but there is no second question."""
    names = Names(rebinds_test=[["127.0.0.1"], ["169.254.169.254"]])
    result = await delivered(f"http://rebinds.test:{receiver.port}/", names=names)
    assert result == Answered(200)
    assert names.asked == ["rebinds.test"]


async def test_a_redirect_to_a_name_that_resolves_inside_is_not_followed(
    receiver: Receiver,
) -> None:
    receiver.answer = lambda _: (
        b"HTTP/1.1 307 T\r\nLocation: http://inside.test/\r\nContent-Length: 0\r\n\r\n"
    )
    names = Names(hook_test=[["127.0.0.1"]], inside_test=[["169.254.169.254"]])
    result = await delivered(f"http://hook.test:{receiver.port}/", names=names)
    assert isinstance(result, Barred) and "169.254.169.254" in result.why
    assert names.asked == ["hook.test", "inside.test"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_keeps_method_and_body(receiver: Receiver, status: int) -> None:
    def answer(request: bytes) -> bytes:
        if b"POST /next" in request:
            return OK
        return f"HTTP/1.1 {status} T\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n".encode()

    receiver.answer = answer
    assert await delivered(f"http://127.0.0.1:{receiver.port}/") == Answered(200)
    assert all(request.endswith(b'{"a":1}') for request in receiver.requests)
    assert len(receiver.requests) == 2


async def test_see_other_is_no_delivery(receiver: Receiver) -> None:
    receiver.answer = lambda _: (
        b"HTTP/1.1 303 See Other\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    )
    assert await delivered(f"http://127.0.0.1:{receiver.port}/") == Answered(303)
    assert len(receiver.requests) == 1


async def test_at_most_five_redirects_are_followed(receiver: Receiver) -> None:
    receiver.answer = lambda _: b"HTTP/1.1 307 T\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    result = await delivered(f"http://127.0.0.1:{receiver.port}/")
    assert isinstance(result, Barred) and "more than 5 times" in result.why
    assert len(receiver.requests) == 6


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "no answer within 0.3 s"),
        (b"", "Server disconnected"),
        (b"nonsense\r\n\r\n", "illegal"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, ""),
    ],
)
async def test_a_receiver_that_says_nothing_sensible_has_failed(
    receiver: Receiver, answer: bytes | None, why: str
) -> None:
    receiver.answer = lambda _: answer
    result = await delivered(f"http://127.0.0.1:{receiver.port}/", whole_s=0.3)
    assert isinstance(result, Failed) and why in result.why


async def test_an_endless_answer_is_not_read(receiver: Receiver) -> None:
    receiver.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx"
    assert await delivered(f"http://127.0.0.1:{receiver.port}/") == Answered(200)


async def test_a_name_that_is_unknown_or_slow_has_failed() -> None:
    result = await delivered("http://unknown.test/", names=Names())
    assert isinstance(result, Failed) and "cannot be resolved" in result.why

    async def never(host: str, port: int) -> Sequence[str]:
        del host, port
        await asyncio.Event().wait()
        return []

    async with Courier(LENIENT, connect_s=0.05, whole_s=5, resolve=never) as courier:
        result = await courier.deliver(Parcel("http://slow.test/", b"", {}, {}))
    assert isinstance(result, Failed) and "not resolved within" in result.why


async def test_the_next_address_is_tried_when_the_first_does_not_listen(
    receiver: Receiver,
) -> None:
    names = Names(two_test=[["127.0.0.2", "127.0.0.1"]])
    assert await delivered(f"http://two.test:{receiver.port}/", names=names) == Answered(200)


async def test_a_port_that_nobody_listens_on_has_failed(receiver: Receiver) -> None:
    async with receiving() as gone:
        port = gone.port
    result = await delivered(f"http://127.0.0.1:{port}/")
    assert isinstance(result, Failed)


@pytest.mark.parametrize(
    ("said", "seconds"), [("120", 120), ("soon", None), ("", None), ("-5", None)]
)
async def test_when_to_come_back_is_passed_on(
    receiver: Receiver, said: str, seconds: float | None
) -> None:
    receiver.answer = lambda _: (
        f"HTTP/1.1 503 S\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert await delivered(f"http://127.0.0.1:{receiver.port}/") == Answered(503, seconds)


async def test_a_path_goes_to_the_app_and_nowhere_if_there_is_none(receiver: Receiver) -> None:
    app = f"http://127.0.0.1:{receiver.port}"
    assert await delivered("/hook?x", app_url=app) == Answered(200)
    assert receiver.requests[0].startswith(b"POST /hook?x HTTP/1.1")
    assert await delivered("/hook?x", app_url=f"{app}/api/") == Answered(200)
    assert receiver.requests[1].startswith(b"POST /api/hook?x HTTP/1.1")
    assert isinstance(await delivered("/hook"), Barred)
    assert isinstance(await delivered("/hook", app_url=app, rules=UrlRules()), Barred)


async def test_rules_that_became_stricter_hold_for_what_was_accepted_before() -> None:
    result = await delivered("http://example.com/", rules=UrlRules())
    assert isinstance(result, Barred) and "require_https" in result.why
