"""One look at everything that may wait, so that an idle scheduler asks one question, not one per
loop."""

from __future__ import annotations

import asyncio

from bedplate.chassis.clock import Clock
from bedplate.chassis.loop import Loop
from bedplate.ledger import Dispatch

from .crons import Crons
from .relay import UNSENT_S, Relay
from .sharing import Sharing

# Loops that are poked when there is something to do look rarely by themselves.
_POKED_S = 30.0
# In a crowd every claim and every end pokes. The tickets that lie unclaimed last longer than this.
_SHARING_GAP_S = 0.01


class Lookout:
    """`loops`: one that looks every `period_s`, and those it pokes when they have something to do.
    What is new in this process pokes them without it; this is for what is due by time, and for what
    somebody else left undone. A cron that is due before the next look wakes its loop by a timer."""

    def __init__(
        self,
        dispatch: Dispatch,
        clock: Clock,
        relay: Relay,
        sharing: Sharing,
        crons: Crons | None,
        *,
        period_s: float,
    ) -> None:
        """Sets `sharing.poke` and `crons.changed`. No crons: they are fired elsewhere."""
        self._dispatch = dispatch
        self._clock = clock
        self._period_s = period_s
        self._look = Loop("look", self._tick, period_s=period_s)
        self._flush = Loop("relay", relay.flush, period_s=_POKED_S)
        self._turns = Loop("dispatch", relay.dispatch, period_s=_POKED_S)
        self._shares = Loop("shares", sharing.share_out, period_s=_POKED_S, gap_s=_SHARING_GAP_S)
        self._firing: Loop | None = None
        self._timer: asyncio.TimerHandle | None = None
        sharing.poke = self._shares.poke
        if crons is not None:
            self._firing = Loop("crons", crons.fire, period_s=_POKED_S)
            crons.changed = self._look.poke

    @property
    def loops(self) -> list[Loop]:
        always = [self._look, self._flush, self._turns, self._shares]
        return always if self._firing is None else [*always, self._firing]

    async def _tick(self) -> None:
        work = await self._dispatch.find_work(unsent_s=UNSENT_S)
        if work.is_unsent:
            self._flush.poke()
        if work.is_undispatched:
            self._turns.poke()
        if work.is_ready:
            self._shares.poke()
        if self._firing is not None and work.cron_at is not None:
            due_in_s = (work.cron_at - self._clock.now_utc()).total_seconds()
            # The next look may come late on a busy machine: the timer is there before it.
            if due_in_s < 2 * self._period_s:
                self._wake(self._firing, max(0.0, due_in_s))

    def _wake(self, firing: Loop, in_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(in_s, firing.poke)
