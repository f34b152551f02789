"""Checkpoints that the blob handlers of a `langgraph_sdk.Encryption` have sealed.

A mark behind the type of a blob says so, and whether the context it was sealed in stands before
what the handler made of it, in the open: readers need not know it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from langgraph.checkpoint.serde.base import CipherProtocol
from pydantic_core import from_json, to_json

from bedplate.graphs.checkpoint_rows import Stored
from bedplate.graphs.committer import BlobRow, WriteRow

log = structlog.get_logger(__name__)

# Joined to the type of what a project's own handler has encrypted; the second: in a context.
_MARK, _MARK_IN_CONTEXT = "+sealed", "+sealed-in"
# What LangGraph's own serializer joins to it with a key.
_CIPHER = "aes"
_MARK_OF_KEY = f"+{_CIPHER}"
# The length of the context's JSON, before it.
_LENGTH_BYTES = 4
# Blobs of one read or write that are with the handlers, and a key service behind them, at a time.
_AT_ONCE_MAX = 8

Row = TypeVar("Row", BlobRow, WriteRow)
Metadata = Mapping[str, Any]


class Seals:
    """The blob handlers of a `langgraph_sdk.Encryption`, around what the serializer makes.

    They get a context of model `checkpoint`. What they raise ends the run, or the read, with their
    words.
    """

    def __init__(
        self,
        encrypt: Callable[[Any, bytes], Awaitable[bytes]],
        decrypt: Callable[[Any, bytes], Awaitable[Any]],
        context: Callable[[Metadata], Any],
        *,
        cipher: CipherProtocol | None = None,
    ) -> None:
        """`context` makes a handler's first argument of the metadata it is to have. `cipher` opens
        what a key has encrypted before there were handlers."""
        self._cipher = cipher
        self._encrypt = encrypt
        self._decrypt = decrypt
        self._context = context
        self._metadata: Metadata = {}
        self._has_warned = False

    def under(self, metadata: Metadata | None) -> Seals:
        """A copy that seals in this context. What it opens tells its own."""
        clone = copy.copy(self)
        clone._metadata = metadata or {}
        return clone

    async def sealed(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """Rows of blobs or writes, encrypted."""
        blobs = await _each(self._seal, [row.blob or b"" for row in rows])
        mark = _MARK_IN_CONTEXT if self._metadata else _MARK
        return tuple(
            row._replace(type=row.type + mark, blob=blob)
            for row, blob in zip(rows, blobs, strict=True)
        )

    async def opened(self, pairs: Sequence[tuple[str, bytes | None]]) -> list[tuple[str, bytes]]:
        """(type, blob) pairs as the serializer made them; those that are not sealed as they are."""
        return await _each(self._opened, pairs)

    async def opened_checkpoint(self, stored: Stored) -> Stored:
        """A copy of `stored` for `decode`."""
        channels, places = list(stored.blobs), list(stored.writes)
        pairs = [stored.blobs[channel][1:] for channel in channels]
        pairs += [(stored.writes[place].type, stored.writes[place].blob) for place in places]
        found = await self.opened(pairs)
        blobs = {
            channel: (stored.blobs[channel][0], *pair)
            for channel, pair in zip(channels, found, strict=False)
        }
        writes = {
            place: replace(stored.writes[place], type=type_, blob=blob)
            for place, (type_, blob) in zip(places, found[len(channels) :], strict=True)
        }
        return replace(stored, blobs=blobs, writes=writes)

    async def opened_records(self, records: Sequence[Any]) -> list[dict[str, Any]]:
        """Rows of a query with `type` and `blob`, of which both may be null."""
        found = await self.opened([(row["type"] or "", row["blob"]) for row in records])
        return [
            dict(row) if row["type"] is None else {**dict(row), "type": type_, "blob": blob}
            for row, (type_, blob) in zip(records, found, strict=True)
        ]

    async def _seal(self, blob: bytes) -> bytes:
        sealed = _bytes(await self._encrypt(self._context(self._metadata), blob), "encrypt.blob")
        if not self._metadata:
            return sealed
        told = to_json(self._metadata)
        return len(told).to_bytes(_LENGTH_BYTES) + told + sealed

    async def _opened(self, pair: tuple[str, bytes | None]) -> tuple[str, bytes]:
        type_, blob = pair[0], pair[1] or b""
        metadata: Metadata = {}
        if type_.endswith(_MARK_IN_CONTEXT):
            end = _LENGTH_BYTES + int.from_bytes(blob[:_LENGTH_BYTES])
            metadata, blob = from_json(blob[_LENGTH_BYTES:end]), blob[end:]
            type_ = type_.removesuffix(_MARK_IN_CONTEXT) + _MARK
        if type_.endswith(_MARK_OF_KEY) and self._cipher is not None:
            return type_.removesuffix(_MARK_OF_KEY), self._cipher.decrypt(_CIPHER, blob)
        if not type_.endswith(_MARK):
            return type_, blob
        found = await self._decrypt(self._context(metadata), blob)
        if (plaintext := getattr(found, "plaintext", None)) is not None:
            if getattr(found, "replacement", None) is not None and not self._has_warned:
                self._has_warned = True
                log.warning("encryption.replacement_ignored", why="checkpoints are written once")
            found = plaintext
        return type_.removesuffix(_MARK), _bytes(found, "decrypt.blob")


Given = TypeVar("Given")
Made = TypeVar("Made")


async def _each(work: Callable[[Given], Awaitable[Made]], given: Sequence[Given]) -> list[Made]:
    """`work` on each, some at a time, in their order."""
    turns = asyncio.Semaphore(_AT_ONCE_MAX)

    async def turn(one: Given) -> Made:
        async with turns:
            return await work(one)

    return list(await asyncio.gather(*(turn(one) for one in given)))


def _bytes(found: Any, handler: str) -> bytes:
    if not isinstance(found, bytes | bytearray | memoryview):
        raise TypeError(f"{handler} answered {type(found).__name__}, not bytes")
    return bytes(found)
