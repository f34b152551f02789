"""Something periodic: a tick at start, then every period or when poked, until the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from random import Random
from typing import Any

from .clock import Clock, SystemClock
from .log import get_logger

log = get_logger()

Report = Mapping[str, Any]
Tick = Callable[[], Awaitable[Report | None]]


class Loop:
    """Calls `tick` at once, then every `period_s` (plus up to `jitter` of it) and after each
    `poke()`.

    Ticks never overlap. Any number of pokes during a tick make one more tick, at the earliest
    `gap_s` after it. A tick that fails or takes longer than `limit_s` is logged once per kind of
    failure and repeated after a delay that doubles from `retry_s` to `retry_s_max`; pokes do not
    shorten it, otherwise a server that is away would be hammered by everyone who wants something
    from it. The loop itself never ends by a failure.
    """

    def __init__(
        self,
        name: str,
        tick: Tick,
        *,
        period_s: float,
        jitter: float = 0.1,
        limit_s: float = 60.0,
        gap_s: float = 0.001,
        retry_s: float = 0.1,
        retry_s_max: float = 10.0,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        if period_s <= 0 or not 0 <= jitter <= 1 or gap_s <= 0 or retry_s <= 0:
            raise ValueError(f"loop {name}: periods must be positive and jitter within 0 to 1")
        self.name = name
        self._tick = tick
        self._period_s = period_s
        self._jitter = jitter
        self._limit_s = limit_s
        self._gap_s = gap_s
        self._retry_s = retry_s
        self._retry_s_max = max(retry_s, retry_s_max)
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or Random()
        self._wanted = asyncio.Event()
        self._stopping = asyncio.Event()
        self.last_report: Report | None = None
        self.last_ok_at: datetime | None = None
        self.failing: str | None = None
        """The latest failure as `Type: text`, None while all is well."""

    def poke(self) -> None:
        """Tick soon. Cheap, idempotent, only from the loop's own thread."""
        self._wanted.set()

    def stop(self) -> None:
        """End `run` after the tick that is under way."""
        self._stopping.set()
        self._wanted.set()

    async def ready(self) -> str | None:
        """A readiness check: why this loop does not do its work, None when it does."""
        if self.failing is not None:
            return self.failing
        return None if self.last_ok_at is not None else "has not completed its first tick"

    def state(self) -> dict[str, Any]:
        """What /readyz shows."""
        at = self.last_ok_at.isoformat() if self.last_ok_at else None
        return {"last_ok_at": at, "last_report": self.last_report, "failing": self.failing}

    async def run(self) -> None:
        """Until `stop()` or cancellation."""
        failures = 0
        while not self._stopping.is_set():
            self._wanted.clear()
            if await self._succeeds(failures):
                failures = 0
                delay_s = self._period_s * (1 + self._jitter * self._rng.random())
                await _within(self._stopping, self._gap_s)
                await _within(self._wanted, delay_s)
            else:
                failures += 1
                delay_s = min(self._retry_s_max, self._retry_s * 2 ** min(failures - 1, 30))
                await _within(self._stopping, delay_s * (1 - self._jitter * self._rng.random()))

    async def _succeeds(self, failures: int) -> bool:
        try:
            async with asyncio.timeout(self._limit_s):
                report = await self._tick()
        except Exception as error:
            text = f"{type(error).__name__}: {error}".removesuffix(": ")
            if text != self.failing:
                log.exception("loop.failed", loop=self.name, failures=failures + 1)
            self.failing = text
            return False
        if self.failing is not None:
            log.info("loop.recovered", loop=self.name, failures=failures)
        self.failing = None
        self.last_report = report
        self.last_ok_at = self._clock.now_utc()
        if report:
            log.debug("loop.ticked", loop=self.name, **report)
        return True


async def _within(event: asyncio.Event, limit_s: float) -> None:
    """Wait for `event`, at most `limit_s`."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        pass
