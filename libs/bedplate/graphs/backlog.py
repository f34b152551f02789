"""What one attempt has handed to the committer, and whether anybody waits for it.

LangGraph saves one checkpoint after the other: the next is handed in when the one before is
committed. A run with durability `async` asks for less: nothing waits within the run, and everything
is committed before it ends. So a deferring backlog hands in and returns at once; what a short run
saves then travels in one or two commits instead of one per checkpoint, which do not wait for the
disk: the commit that ends the run does.

Promised when deferring: order as handed in; nothing that was handed in after an entry that failed
is stored, so there is no checkpoint without the one it stands on; the failure comes with the next
`store`, at the latest with `settled`; reads that wait for `decided` see what was stored.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from functools import partial
from typing import Any

from bedplate.kernel.errors import BedplateError

from .committer import Committer, Entry
from .newest import Newest

# More than this undecided, and a deferring writer waits too: PostgreSQL is slow or away.
_ENTRIES_MAX = 100


class Backlog:
    """One per saver of an attempt (`newest` remembers what is stored), used on the home loop."""

    def __init__(
        self, committer: Committer, newest: Newest | None, *, defers: bool = False
    ) -> None:
        self._committer = committer
        self._newest = newest
        self._defers = defers
        # In the order they were handed in.
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._failure: BaseException | None = None

    async def store(
        self, entry: Entry, versions: dict[str, Any] | None, blob_channels: set[str]
    ) -> None:
        """Commit `entry`, or when deferring hand it in. Raises what `Committer.commit` raises.

        `versions` and `blob_channels` are those of `Newest.wrote`.
        """
        if self._defers:
            while len(self._waiting) >= _ENTRIES_MAX:
                self._committer.hurry()
                await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure()
            stored = self._committer.hand_in(replace(entry, lingers=True))
            self._waiting[stored] = None
            stored.add_done_callback(partial(self._learn, entry, versions, blob_channels))
            return
        try:
            await self._committer.commit(entry)
        except BaseException:
            if self._newest is not None:
                self._newest.lose_track()
            raise
        if self._newest is not None:
            self._newest.wrote(entry, versions, blob_channels)

    async def decided(self) -> None:
        """Returns when everything handed in so far is stored or has failed."""
        if self._waiting:
            self._committer.hurry()
            await asyncio.wait(list(self._waiting))

    async def settled(self) -> None:
        """Returns when everything handed in is committed. Raises what an entry failed with."""
        await self.decided()
        self._raise_failure()

    def _learn(
        self,
        entry: Entry,
        versions: dict[str, Any] | None,
        blob_channels: set[str],
        stored: asyncio.Future[None],
    ) -> None:
        del self._waiting[stored]
        failure = None if stored.cancelled() else stored.exception()
        if failure is None and not stored.cancelled():
            if self._newest is not None:
                self._newest.wrote(entry, versions, blob_channels)
            return
        if self._newest is not None:
            self._newest.lose_track()
        if self._failure is None and failure is not None:
            self._failure = failure
            for later in list(self._waiting):
                later.cancel()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            # A copy: a raised exception keeps the traceback of whoever it was raised in.
            failure = self._failure
            raise copy.copy(failure) if isinstance(failure, BedplateError) else failure
