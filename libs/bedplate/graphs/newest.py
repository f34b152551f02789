"""What an attempt remembers of its own: the newest checkpoint of each namespace, as stored.

An executor asks for the state when a run ends, and it has just written it. While an attempt holds
its run nobody else writes to the thread, so what it remembers is what stands in the tables. It
remembers bytes, not objects: a graph may change a value in place after it was stored.

Nothing is remembered of a namespace whose newest checkpoint was never read: only then is it known
that what was written is newer. Not remembered is always right, it costs a query.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .checkpoint_rows import Stored, StoredWrite
from .committer import Entry, WriteRow

Key = tuple[str, str]

# A run of many sub-agents has a namespace for each; the state that is asked for again is near the
# end.
_NAMESPACES_MAX = 16
_BYTES_MAX = 8 * 1024 * 1024


class Newest:
    """One per attempt, shared by the copies of its saver."""

    def __init__(self, *, is_blank: bool = False) -> None:
        """`is_blank`: the thread had no checkpoint when the attempt began."""
        # Until it is not known any more what was written.
        self._is_blank = is_blank
        self._written: set[Key] = set()
        # None: the namespace is known to be empty.
        self._known: OrderedDict[Key, Stored | None] = OrderedDict()
        # Writes that were committed before their checkpoint, which LangGraph saves in the
        # background.
        self._early: dict[tuple[str, ...], dict[tuple[str, int], StoredWrite]] = {}
        # Counts what was written, so that a read that was overtaken by a write is not remembered.
        self.changes = 0
        # A write whose caller was cancelled may still be on its way.
        self.is_unsettled = False

    def knows_nothing_in(self, key: Key) -> bool:
        """Nothing is stored there, and needs no asking."""
        return self._is_blank and key not in self._written

    def find(self, key: Key, checkpoint_id: str | None) -> Stored | None:
        found = self._known.get(key)
        if found is None or (checkpoint_id is not None and found.checkpoint_id != checkpoint_id):
            return None
        return found

    def read(self, key: Key, stored: Stored | None, *, since: int) -> None:
        """`stored` was read as the newest of its namespace; `since` is `changes` before that."""
        if since == self.changes and key not in self._known:
            self._keep(key, stored)

    def wrote(self, entry: Entry, versions: dict[str, Any] | None, blob_channels: set[str]) -> None:
        """`entry` was committed. For a checkpoint, `versions` are those of all its channels and
        `blob_channels` the channels whose value is a blob."""
        self.changes += 1
        if self._is_blank:
            self._written.update(row[:2] for row in entry.writes)
        if entry.checkpoint is not None:
            self._written.add(entry.checkpoint[:2])
            self._put(entry, versions or {}, blob_channels)
        for row in entry.writes:
            if row[:2] in self._known:
                self._write(row)

    def lose_track(self) -> None:
        """A write was given up; whether it was stored is not known."""
        self.is_unsettled = True
        self.forget()

    def forget(self) -> None:
        self.changes += 1
        self._is_blank = False
        self._known.clear()
        self._early.clear()

    def _write(self, row: WriteRow) -> None:
        found = self._known[row[:2]]
        if found is not None and found.checkpoint_id == row.checkpoint_id:
            writes = found.writes
        elif found is None or found.checkpoint_id < row.checkpoint_id:
            writes = self._early.setdefault(row[:3], {})
        else:
            return
        place = (row.task_id, row.idx)
        before = writes.get(place)
        if row.overwrites or before is None:
            # The path of a write stays what it was when it is replaced.
            path = before.task_path if before is not None else row.task_path
            writes[place] = StoredWrite(row.task_id, row.idx, row.channel, row.type, row.blob, path)

    def _put(self, entry: Entry, versions: dict[str, Any], blob_channels: set[str]) -> None:
        row = entry.checkpoint
        assert row is not None
        key = row[:2]
        if key not in self._known:
            return
        before = self._known[key]
        if before is not None and before.checkpoint_id > row.checkpoint_id:
            return
        blobs = {blob.channel: (blob.version, blob.type, blob.blob) for blob in entry.blobs}
        for channel in blob_channels - blobs.keys():
            earlier = before.blobs.get(channel) if before is not None else None
            if earlier is None or earlier[0] != str(versions.get(channel)):
                # Stored by somebody else, or not at all.
                del self._known[key]
                return
            blobs[channel] = earlier
        parent = row.parent_checkpoint_id
        writes = self._early.pop(row[:3], {})
        self._early = {place: w for place, w in self._early.items() if place > row[:3]}
        if before is not None and before.checkpoint_id == row.checkpoint_id:
            # Put again: its writes and its parent stay.
            writes, parent = before.writes, before.parent_checkpoint_id
        self._keep(key, Stored(*row[:3], parent, row.checkpoint, row.metadata, blobs, writes))

    def _keep(self, key: Key, stored: Stored | None) -> None:
        self._known.pop(key, None)
        size = sum(len(blob or b"") for _, _, blob in stored.blobs.values()) if stored else 0
        if size > _BYTES_MAX:
            return
        self._known[key] = stored
        if len(self._known) > _NAMESPACES_MAX:
            self._known.popitem(last=False)
