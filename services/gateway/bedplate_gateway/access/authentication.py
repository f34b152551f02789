"""The project's `authenticate`: called with what its parameters ask for, its answer kept a while if
the project wants that."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from bedplate.chassis.log import get_logger
from bedplate.kernel.errors import Refused

from ..errors import Denied
from .callers import Caller, Unusable, caller_of
from .handlers import Broken, Context, judging

log = get_logger()

PARAMETERS = (
    *("request", "body", "user", "path", "method", "scopes", "path_params", "query_params"),
    *("headers", "authorization", "scope"),
)
UNAUTHORIZED = 401
Present = Callable[[Sequence[str]], Awaitable[Mapping[str, Any]]]
"""Values for these parameters of `authenticate`."""


class CacheBlock(BaseModel):
    """The block `auth.cache`: who was let in with these headers is let in again for a while."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cache_keys: Annotated[list[str], Field(min_length=1, max_length=20)]
    ttl_seconds: float = Field(60.0, gt=0, le=86_400)
    max_size: int = Field(1000, ge=1, le=100_000)


class Authentication:
    def __init__(
        self,
        authenticate: Callable[..., Any],
        context: Context,
        *,
        cache: CacheBlock | None = None,
    ) -> None:
        """Raises `Refused` for a parameter that nothing is known for."""
        self._authenticate = authenticate
        self._context = context
        self.wanted = _wanted(authenticate)
        self._kept = None if cache is None else _Kept(cache)

    async def caller(self, present: Present, header: Callable[[str], str | None]) -> Caller:
        """Who this is. Raises `Denied`: 401 if told so, 403 for any other refusal."""
        key = None if self._kept is None else self._kept.key_of(header)
        if self._kept is not None and key is not None and (known := self._kept.get(key)):
            return known
        given = await present(self.wanted)
        try:
            with judging(self._context, what="authentication"):
                async with asyncio.timeout(self._context.limit_s):
                    answer = await self._asked(given)
        except Denied as denied:
            if denied.status == UNAUTHORIZED:
                raise
            raise Denied(denied.message, headers=denied.headers) from denied
        if answer is None:
            raise Denied("Unauthorized", status=UNAUTHORIZED)
        try:
            caller = caller_of(answer)
        except Unusable as error:
            log.exception("auth.misformed", rule="authenticate", why=str(error))
            raise Broken from error
        if self._kept is not None and key is not None:
            self._kept.put(key, caller)
        return caller

    async def _asked(self, given: Mapping[str, Any]) -> Any:
        if inspect.iscoroutinefunction(inspect.unwrap(self._authenticate)):
            return await self._authenticate(**given)
        # A plain function may look a token up over the network: not on the loop.
        answer = await asyncio.to_thread(self._authenticate, **given)
        return await answer if inspect.isawaitable(answer) else answer


class _Kept:
    """Callers by the headers that told who they are, the least recently used one goes first."""

    def __init__(self, block: CacheBlock) -> None:
        self._block = block
        self._callers: OrderedDict[tuple[str | None, ...], tuple[float, Caller]] = OrderedDict()

    def key_of(self, header: Callable[[str], str | None]) -> tuple[str | None, ...] | None:
        """None: nothing in this request tells who it is."""
        key = tuple(header(name) for name in self._block.cache_keys)
        return None if all(value is None for value in key) else key

    def get(self, key: tuple[str | None, ...]) -> Caller | None:
        found = self._callers.get(key)
        if found is None:
            return None
        until, caller = found
        if until <= time.monotonic():
            del self._callers[key]
            return None
        self._callers.move_to_end(key)
        return caller

    def put(self, key: tuple[str | None, ...], caller: Caller) -> None:
        self._callers[key] = (time.monotonic() + self._block.ttl_seconds, caller)
        self._callers.move_to_end(key)
        if len(self._callers) > self._block.max_size:
            self._callers.popitem(last=False)


def _wanted(authenticate: Callable[..., Any]) -> tuple[str, ...]:
    wanted: list[str] = []
    for parameter in inspect.signature(authenticate).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in PARAMETERS and parameter.kind is not parameter.POSITIONAL_ONLY:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise Refused(
                f"its authenticate function asks for {parameter.name!r}, which is not known; it"
                f" may ask for {', '.join(PARAMETERS)}"
            )
    return tuple(wanted)
