"""The project's `on.*` handlers: which one is asked, and what its answer means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from bedplate.chassis.log import get_logger
from bedplate.kernel.errors import BedplateError, Unavailable

from ..errors import Denied
from ..forms import Object
from .callers import Caller
from .filters import ANY, Filter, Misformed, filter_of
from .rules import Named, Rule

log = get_logger()

Handler = Callable[..., Awaitable[Any]]
FORBIDDEN = "Forbidden"
STORE_FILTER = (
    "An authorization handler answered a filter for the store, whose items have no metadata:"
    " rewrite value['namespace'] in @auth.on.store instead."
)


class Broken(BedplateError):
    """The project's authentication or authorization failed."""


@dataclass(frozen=True)
class Context:
    """What makes a handler's first argument, and what it may raise to say no."""

    made: Callable[..., Any]
    raised: tuple[type[Exception], ...]
    limit_s: float


class Handlers:
    def __init__(
        self,
        specific: Mapping[Named, list[Handler]],
        for_all: list[Handler],
        context: Context,
    ) -> None:
        """`specific` by (resource, action), each of them or both `*`."""
        self._specific = specific
        self._for_all = for_all
        self._context = context
        self._chosen: dict[Named, Handler | None] = {}

    def of(self, rule: Rule) -> Handler | None:
        """The most specific one; of several the last that was registered."""
        if rule.name not in self._chosen:
            self._chosen[rule.name] = self._choose(rule)
        return self._chosen[rule.name]

    async def ask(self, rule: Rule, caller: Caller, value: Object) -> Filter:
        """What of it the caller may meet; the handler may change `value`. Raises `Denied`,
        `Broken`, and `Unavailable` when the handler takes too long."""
        handler = self.of(rule)
        if handler is None:
            return ANY
        context = self._context.made(
            permissions=caller.permissions,
            user=caller.user,
            resource=rule.resource,
            action=rule.action,
        )
        with judging(self._context, what="authorization"):
            async with asyncio.timeout(self._context.limit_s):
                answer = await handler(ctx=context, value=value)
        return _filter(answer, rule)

    def _choose(self, rule: Rule) -> Handler | None:
        resource, action = rule.name
        for name in ((resource, action), (resource, "*"), ("*", action)):
            if found := self._specific.get(name):
                return found[-1]
        return self._for_all[-1] if self._for_all else None


class judging:
    """What the project's code raises, as an answer. A failure of it lets nobody in."""

    def __init__(self, context: Context, *, what: str) -> None:
        self._context = context
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or not isinstance(error, Exception):
            return
        if isinstance(error, self._context.raised):
            raised: Any = error
            raise Denied(
                str(raised.detail), status=raised.status_code, headers=raised.headers
            ) from error
        if isinstance(error, AssertionError):
            raise Denied(str(error) or FORBIDDEN) from error
        if isinstance(error, BedplateError):
            return
        if isinstance(error, TimeoutError):
            log.warning("auth.late", what=self._what, limit_s=self._context.limit_s)
            raise Unavailable(f"The {self._what} takes too long.") from error
        log.error("auth.failed", what=self._what, exc_info=error)
        raise Broken from error


def _filter(answer: Any, rule: Rule) -> Filter:
    if answer is None or answer is True:
        return ANY
    if answer is False:
        raise Denied(FORBIDDEN)
    if not isinstance(answer, Mapping):
        log.error("auth.misformed", rule=rule.name, why=f"answered a {type(answer).__name__}")
        raise Broken
    try:
        found = filter_of(cast("Mapping[str, Any]", answer))
    except Misformed as error:
        log.exception("auth.misformed", rule=rule.name, why=str(error))
        raise Broken from error
    if rule.resource == "store" and not found.is_open:
        # Ignoring it would show everybody's items to everybody.
        raise Denied(STORE_FILTER)
    return found
