"""Waiting for a fact, instead of hoping that some seconds suffice."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")
_UNSET: Any = object()


async def eventually(
    fn: Callable[[], T | Awaitable[T]],
    *,
    equals: Any = _UNSET,
    satisfies: Callable[[T], object] | None = None,
    within_s: float,
    every_s: float = 0.02,
) -> T:
    """Ask `fn` until the answer equals `equals`, satisfies `satisfies`, or else is truthy; return
    it.

    `fn` may be a coroutine function. An exception counts as "not yet". Raises `AssertionError` with
    the last answer or exception after `within_s`; the last question is asked at the limit itself,
    so a slow machine that sleeps past it is not a failure.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    asked = 0
    while True:
        is_last = loop.time() >= deadline
        failure: Exception | None = None
        value = cast("T", None)
        try:
            # A hung question must not hang the test; the last one gets a moment although no time is
            # left.
            async with asyncio.timeout(1.0 if is_last else deadline - loop.time()):
                answer = fn()
                value = cast("T", await answer if inspect.isawaitable(answer) else answer)
            asked += 1
            if _is_it(value, equals, satisfies):
                return value
        except Exception as error:
            failure = error
        if is_last:
            last = f"{type(failure).__name__}: {failure}" if failure else repr(value)
            wanted = f"equal to {equals!r}" if equals is not _UNSET else "as wanted"
            raise AssertionError(
                f"not {wanted} within {within_s} s ({asked} answers); last: {last}"
            ) from failure
        await asyncio.sleep(min(every_s, max(0.0, deadline - loop.time())))


def _is_it(value: Any, equals: Any, satisfies: Callable[[Any], object] | None) -> bool:
    if equals is not _UNSET:
        return bool(value == equals)
    return bool(satisfies(value)) if satisfies is not None else bool(value)
