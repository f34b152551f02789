"""Group commit: what all attempts of a process want to store, in few transactions.

While one commit is on its way, what arrives is collected; when it is done, everything collected
travels in the next one, in one statement. Alone, an entry goes at once; under load the batches grow
by themselves. Only entries that nobody waits for linger a few milliseconds for company: what a
short run saves is then one commit.

Promises, to the caller of `commit`:
- When it returns, the entry is committed, all of it. When it raises, nothing of it is, except after
  `Unavailable`, when it may be; saying it again is harmless.
- An entry is never committed before one that was handed in earlier. So a checkpoint is never
  visible without the blobs and writes that were put before it.
- What is wrong with one entry (its fence, its values) fails that entry alone.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from bedplate.kernel.errors import BedplateError, Refused, Unavailable
from bedplate.sql import Statements

from .fence import AttemptFence, EditFence, Fence, hold, refusal
from .patience import RETRY_S_MAX, Patience

_sql = Statements("bedplate.graphs")

# A batch is one message to PostgreSQL and one transaction: large enough to gather every attempt of
# a worker, small enough that nobody waits long for somebody else's megabytes.
ROWS_MAX = 2_000
BYTES_MAX = 8 * 1024 * 1024
# Shorter than a commit may take anyway, longer than a node that only computes.
LINGER_S = 0.004


class CheckpointRow(NamedTuple):
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    checkpoint: str
    metadata: str


class BlobRow(NamedTuple):
    thread_id: str
    checkpoint_ns: str
    channel: str
    version: str
    type: str
    blob: bytes | None


class WriteRow(NamedTuple):
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    task_id: str
    idx: int
    channel: str
    type: str
    blob: bytes
    task_path: str
    overwrites: bool
    # The run to be told how to take this back, when the checkpoint is not its own.
    undo_run: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What one `put` or `put_writes` stores, under its fence."""

    fence: Fence | None
    lingers: bool = False
    """Nobody waits for it: it may wait for others, and its commit need not wait for the disk."""
    checkpoint: CheckpointRow | None = None
    blobs: tuple[BlobRow, ...] = ()
    writes: tuple[WriteRow, ...] = ()

    @property
    def rows(self) -> int:
        return (self.checkpoint is not None) + len(self.blobs) + len(self.writes)

    @property
    def bytes(self) -> int:
        size = sum(len(row.blob or b"") for row in self.blobs)
        size += sum(len(row.blob) for row in self.writes)
        if self.checkpoint is not None:
            size += len(self.checkpoint.checkpoint) + len(self.checkpoint.metadata)
        return size

    def upserted(self) -> set[tuple[str, ...]]:
        """The keys this entry overwrites: one statement can overwrite a row only once."""
        keys: set[tuple[str, ...]] = {
            (*row[:4], str(row.idx)) for row in self.writes if row.overwrites
        }
        if self.checkpoint is not None:
            keys.add(self.checkpoint[:3])
        return keys


_Waiting = tuple[Entry, "asyncio.Future[None]"]


class Committer:
    """The one writer of checkpoints in a process. `commits` and `entries` count what it did."""

    def __init__(
        self,
        pool: Any,
        *,
        retry_s_max: float = RETRY_S_MAX,
        rows_max: int = ROWS_MAX,
        bytes_max: int = BYTES_MAX,
        linger_s: float = LINGER_S,
    ) -> None:
        self._patience = Patience(pool, retry_s_max=retry_s_max)
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._linger_s = linger_s
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()
        self._is_closed = False
        self.commits = 0
        self.entries = 0

    async def commit(self, entry: Entry) -> None:
        """Store `entry`. Raises `Fenced`, `Refused` (a value PostgreSQL cannot hold) or
        `Unavailable`. A cancelled caller takes back what is not on its way yet."""
        await self.hand_in(entry)

    def hand_in(self, entry: Entry) -> asyncio.Future[None]:
        """Queue `entry`; the future ends as `commit` would. Cancelling it takes the entry back as
        long as it is not on its way. One that lingers may wait for others, until `hurry`."""
        if self._is_closed:
            raise Unavailable("The checkpoint committer of this process is closed.")
        return self._queue(entry)

    def hurry(self) -> None:
        """Somebody waits for what was handed in."""
        self._hurried.set()

    async def settle(self) -> None:
        """Wait until everything handed in so far is decided, also what its caller gave up. Raises
        `Unavailable`."""
        if self._writer is not None:
            await self._queue(Entry(None))

    async def aclose(self) -> None:
        """Take nothing more, and decide what was taken."""
        self._is_closed = True
        self.hurry()
        if self._writer is not None:
            await asyncio.wait([self._writer])

    # -- the writer: one task while there is something to write

    def _queue(self, entry: Entry) -> asyncio.Future[None]:
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, decided))
        if not entry.lingers:
            self.hurry()
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="checkpoint-committer")
        return decided

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._linger()
                await self._decide(self._next_batch())
                # Who takes back what stands on a failed entry does so before the next batch leaves.
                await asyncio.sleep(0)
        finally:
            self._writer = None
            # Only when the process is going down: whoever waits must not wait for ever.
            self._fail_waiting(Unavailable("The checkpoint committer of this process was stopped."))

    async def _linger(self) -> None:
        if self._hurried.is_set():
            self._hurried.clear()
            return
        timer = asyncio.get_running_loop().call_later(self._linger_s, self.hurry)
        try:
            await self._hurried.wait()
        finally:
            timer.cancel()
        self._hurried.clear()

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        keys: set[tuple[str, ...]] = set()
        rows = size = 0
        while self._waiting:
            entry, decided = self._waiting[0]
            if decided.cancelled():
                self._waiting.popleft()
                continue
            mine = entry.upserted()
            rows += entry.rows
            size += entry.bytes
            is_edit = isinstance(entry.fence, EditFence)
            if batch and (
                is_edit or keys & mine or rows > self._rows_max or size > self._bytes_max
            ):
                break
            self._waiting.popleft()
            batch.append((entry, decided))
            keys |= mine
            # An edit takes other locks, and a second look at them: it travels alone.
            if is_edit:
                break
        return batch

    async def _decide(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            refused = await self._store([entry for entry, _ in batch])
        except Unavailable as error:
            _fail(batch, error)
            # They waited through the same outage.
            self._fail_waiting(error)
        except BedplateError as error:
            _fail(batch, error)
        except Exception as error:
            # This loop serves every attempt of the process, so nothing may end it. PostgreSQL and
            # asyncpg do not say which of the rows it was.
            if len(batch) > 1:
                for one in batch:
                    if not one[1].cancelled():
                        await self._decide([one])
                        await asyncio.sleep(0)
                return
            wrong = Refused(f"a checkpoint cannot be stored: {type(error).__name__}: {error}")
            wrong.__cause__ = error
            _fail(batch, wrong)
        except BaseException:
            _fail(batch, Unavailable("The checkpoint committer of this process was stopped."))
            raise
        else:
            for entry, decided in batch:
                if decided.done():
                    continue
                if entry.fence is not None and entry.fence in refused:
                    decided.set_exception(refusal(entry.fence))
                else:
                    decided.set_result(None)

    def _fail_waiting(self, error: BedplateError) -> None:
        waiting = list(self._waiting)
        self._waiting.clear()
        _fail(waiting, error)

    async def _store(self, entries: list[Entry]) -> set[Fence]:
        """Commit the entries; the fences that did not hold."""
        if not any(entry.rows for entry in entries):
            return set()
        edit = next((e.fence for e in entries if isinstance(e.fence, EditFence)), None)
        numbers: dict[AttemptFence, int] = {}
        for entry in entries:
            if isinstance(entry.fence, AttemptFence):
                numbers.setdefault(entry.fence, len(numbers) + 1)
        arguments = _arguments(entries, numbers)

        async def work(connection: Any) -> list[Any]:
            if edit is None:
                return await connection.fetch(_sql["write_checkpoints"], *arguments)
            async with connection.transaction():
                await hold(connection, edit)
                return await connection.fetch(_sql["write_checkpoints"], *arguments)

        rows = await self._patience.run(work)
        self.commits += 1
        self.entries += len(entries)
        held = {row["number"] for row in rows}
        return {fence for fence, number in numbers.items() if number not in held}


def _fail(batch: list[_Waiting], error: BedplateError) -> None:
    for _, decided in batch:
        if not decided.done():
            # One for each: a raised exception keeps the traceback of whoever it was raised in.
            decided.set_exception(copy.copy(error))


def _arguments(entries: list[Entry], numbers: dict[AttemptFence, int]) -> list[Any]:
    """The columns of the statement, in the order of its parameters."""
    checkpoints: list[tuple[Any, ...]] = []
    blobs: list[tuple[Any, ...]] = []
    writes: list[tuple[Any, ...]] = []
    for entry in entries:
        fence = entry.fence
        number = numbers[fence] if isinstance(fence, AttemptFence) else 0
        if entry.checkpoint is not None:
            checkpoints.append((number, *entry.checkpoint))
        blobs.extend((number, *row) for row in entry.blobs)
        writes.extend((number, *row) for row in entry.writes)
    return [
        list(numbers.values()),
        [fence.run_id for fence in numbers],
        [fence.attempt for fence in numbers],
        *_columns(checkpoints, 7),
        *_columns(blobs, 7),
        *_columns(writes, 12),
        all(entry.lingers for entry in entries),
    ]


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * width
