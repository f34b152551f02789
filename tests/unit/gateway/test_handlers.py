"""Which of the project's handlers is asked, what its answer means, and who `authenticate` lets
in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from langgraph_sdk.auth import Auth
from langgraph_sdk.auth.types import BaseUser, StudioUser
from pydantic import BaseModel

from bedplate.kernel.errors import Refused, Unavailable
from bedplate_gateway.access import rules
from bedplate_gateway.access.authentication import CacheBlock
from bedplate_gateway.access.callers import Unusable, caller_of, restored
from bedplate_gateway.access.configured import AuthBlock, Configured, configured
from bedplate_gateway.access.handlers import STORE_FILTER, Broken
from bedplate_gateway.errors import Denied

ANN = caller_of("ann")


def _auth() -> Auth:
    auth = Auth()

    @auth.authenticate
    async def authenticate(authorization: str | None) -> str:
        return authorization or ""

    return auth


def _made(auth: Auth, *, limit_s: float = 5, **block: Any) -> Configured:
    return configured(auth, AuthBlock(**block), limit_s=limit_s, lets_studio_in=False)


def _naming(name: str) -> Any:
    async def handler(ctx: Any, value: dict[str, Any]) -> None:
        value["by"] = name

    return handler


@pytest.mark.parametrize(
    ("registered", "chosen"),
    [
        (["global"], "global"),
        (["global", "*.create"], "*.create"),
        (["global", "*.create", "threads.*"], "threads.*"),
        (["global", "*.create", "threads.*", "threads.create"], "threads.create"),
        (["threads.read", "assistants.create"], None),
        ([], None),
    ],
)
async def test_the_most_specific_handler_is_asked(
    registered: list[str], chosen: str | None
) -> None:
    auth = _auth()
    for name in reversed(registered):
        resource, _, action = name.partition(".")
        handler = _naming(name)
        if name == "global":
            auth.on(handler)
        elif resource == "*":
            auth.on(actions=action)(handler)
        elif action == "*":
            auth.on(resources=resource)(handler)
        else:
            auth.on(resources=resource, actions=action)(handler)
    value: dict[str, Any] = {}
    await _made(auth).handlers.ask(rules.THREADS_CREATE, ANN, value)
    assert value.get("by") == chosen


async def test_a_handler_knows_who_wants_what() -> None:
    auth, seen = _auth(), []

    @auth.on.threads
    async def look(ctx: Any, value: Any) -> None:
        seen.append((ctx.user.identity, ctx.permissions, ctx.resource, ctx.action, value))

    caller = caller_of({"identity": "ann", "permissions": ["p"]})
    await _made(auth).handlers.ask(rules.THREADS_CREATE_RUN, caller, {"a": 1})
    assert seen == [("ann", ["p"], "threads", "create_run", {"a": 1})]


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (False, 403, "Forbidden"),
        (AssertionError("not today"), 403, "not today"),
        (AssertionError(), 403, "Forbidden"),
        (Auth.exceptions.HTTPException(429, "slowly", {"Retry-After": "3"}), 429, "slowly"),
        (Auth.exceptions.HTTPException(), 401, "Unauthorized"),
        (Auth.exceptions.HTTPException(200, "fine"), 403, "fine"),
        (RuntimeError("x"), None, None),
        ({"$or": []}, None, None),
        ("yes", None, None),
        (1, None, None),
    ],
)
async def test_an_answer_that_is_no_yes_is_a_refusal(
    answer: Any, status: int | None, text: str | None
) -> None:
    auth = _auth()

    @auth.on
    async def no(ctx: Any, value: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    handlers = _made(auth).handlers
    if status is None:
        with pytest.raises(Broken):
            await handlers.ask(rules.THREADS_READ, ANN, {})
        return
    with pytest.raises(Denied) as denied:
        await handlers.ask(rules.THREADS_READ, ANN, {})
    assert (denied.value.status, denied.value.message) == (status, text)
    assert status != 429 or denied.value.headers == {"Retry-After": "3"}


async def test_a_filter_for_the_store_is_refused_because_nothing_can_keep_to_it() -> None:
    auth = _auth()

    @auth.on
    async def own(ctx: Any, value: Any) -> Any:
        return {"owner": ctx.user.identity}

    handlers = _made(auth).handlers
    assert (await handlers.ask(rules.THREADS_READ, ANN, {})).matches({"owner": "ann"})
    with pytest.raises(Denied, match="value\\['namespace'\\]") as denied:
        await handlers.ask(rules.STORE_GET, ANN, {})
    assert denied.value.message == STORE_FILTER


async def test_a_handler_that_hangs_lets_nobody_in() -> None:
    auth = _auth()

    @auth.on
    async def hang(ctx: Any, value: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unavailable):
        await _made(auth, limit_s=0.05).handlers.ask(rules.THREADS_READ, ANN, {})


class _Object:
    identity = "ann"
    permissions = ("p",)

    def __init__(self) -> None:
        self.org = "acme"
        self._secret = "x"


@dataclass
class _Plain:
    identity: str
    org: str


class _Model(BaseModel):
    identity: str
    org: str


class _Slotted:
    __slots__ = ("identity",)

    def __init__(self) -> None:
        self.identity = "ann"


@pytest.mark.parametrize(
    ("answer", "permissions", "org"),
    [
        ("ann", [], None),
        ({"identity": "ann", "permissions": ["p"], "org": "acme"}, ["p"], "acme"),
        (_Object(), ["p"], "acme"),
        (_Plain("ann", "acme"), [], "acme"),
        (_Model(identity="ann", org="acme"), [], "acme"),
        (_Slotted(), [], None),
        ((["q"], "ann"), ["q"], None),
        ((["q"], {"identity": "ann", "permissions": ["p"], "org": "acme"}), ["q"], "acme"),
    ],
)
def test_a_user_comes_in_many_forms(answer: Any, permissions: list[str], org: Any) -> None:
    caller = caller_of(answer)
    assert isinstance(caller.user, BaseUser)
    assert (caller.identity, caller.user.identity) == ("ann", "ann")
    assert caller.permissions == caller.user.permissions == permissions
    assert getattr(caller.user, "org", None) == org == caller.fields.get("org")
    assert "_secret" not in caller.fields


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"identity": ""}, {"identity": 7}, {"identity": "x" * 257}, {"identity": "a\x00b"},
        {"identity": "ann", "permissions": "all"}, {"identity": "ann", "permissions": [1]},
        (), ("ann",), 7, object(), True,
    ],
)  # fmt: skip
def test_what_is_no_user_is_not_let_in(answer: Any) -> None:
    with pytest.raises(Unusable):
        caller_of(answer)


def test_a_row_carries_what_of_a_caller_is_json() -> None:
    caller = caller_of({"identity": "ann", "permissions": ["p"], "n": 1, "odd": object()})
    again = restored(caller.carried())
    assert (again.identity, again.permissions, again.fields["n"]) == ("ann", ["p"], 1)
    assert "odd" not in again.fields and hasattr(caller.user, "odd")
    assert caller.configurable() == {
        "langgraph_auth_user_id": "ann",
        "langgraph_auth_permissions": ["p"],
        "user_id": "ann",
    }


class _Presented:
    """Values for `authenticate`; counts how often it was asked."""

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.count = 0

    async def __call__(self, wanted: Any) -> dict[str, Any]:
        self.count += 1
        return {name: self.values.get(name) for name in wanted}

    def header(self, name: str) -> str | None:
        return self.values.get(name)


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (Auth.exceptions.HTTPException(401, "who?"), 401),
        (Auth.exceptions.HTTPException(404, "gone"), 403),
        (AssertionError("no"), 403),
        (None, 401),
    ],
)
async def test_who_is_refused_gets_401_or_403(raised: Exception | None, status: int) -> None:
    auth = Auth()

    @auth.authenticate
    async def authenticate() -> Any:
        if raised is not None:
            raise raised
        return None

    presented = _Presented()
    with pytest.raises(Denied) as denied:
        await _made(auth).authentication.caller(presented, presented.header)
    assert denied.value.status == status


async def test_a_plain_function_may_authenticate() -> None:
    auth = Auth()

    def authenticate(authorization: str | None, path: str, other: int = 1) -> Any:
        return {"identity": authorization, "path": path, "other": other}

    auth.authenticate(authenticate)  # pyright: ignore[reportArgumentType]
    presented = _Presented(authorization="ann", path="/x")
    caller = await _made(auth).authentication.caller(presented, presented.header)
    assert (caller.identity, caller.fields["path"], caller.fields["other"]) == ("ann", "/x", 1)


async def test_an_answer_is_kept_by_its_headers_for_a_while() -> None:
    cache = CacheBlock(cache_keys=["authorization"], ttl_seconds=3600, max_size=2)
    authentication = _made(_auth(), cache=cache).authentication

    async def asked(name: str | None) -> int:
        presented = _Presented(authorization=name)
        try:
            caller = await authentication.caller(presented, presented.header)
        except Broken:
            return -1
        assert caller.identity == name
        return presented.count

    assert [await asked(name) for name in ("a", "a", "b", "a", "c", "b", "a")] == [
        1, 0, 1, 0, 1, 1, 1,
    ]  # fmt: skip
    assert await asked(None) == -1, "what tells nothing is not kept"
    assert await asked("") == -1 and await asked("") == -1


@pytest.mark.parametrize("what", [None, Auth(), Auth, {"authenticate": 1}])
def test_what_cannot_authenticate_is_refused_at_start(what: Any) -> None:
    with pytest.raises(Refused):
        _made(what)


def test_a_parameter_that_nothing_is_known_for_is_refused_at_start() -> None:
    auth = Auth()

    @auth.authenticate
    async def authenticate(token: str) -> str:
        return token

    with pytest.raises(Refused, match="'token'"):
        _made(auth)


def test_studio_is_let_in_only_where_both_ask_for_it() -> None:
    def studio(lets_in: bool, **block: Any) -> Any:
        made = configured(_auth(), AuthBlock(**block), limit_s=1, lets_studio_in=lets_in)
        return made.studio

    assert studio(False) is None
    assert studio(True, disable_studio_auth=True) is None
    caller = studio(True)
    assert isinstance(caller.user, StudioUser) and caller.identity == "langgraph-studio-user"


@pytest.mark.parametrize("block", [{"pth": "x"}, {"cache": {}}, {"cache": {"cache_keys": []}}])
def test_a_misspelt_block_is_refused(block: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="AuthBlock"):
        AuthBlock(**block)
