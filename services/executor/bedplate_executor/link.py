"""The line between the keeper and one worker: frames of a JSON head and a raw body over a socket
pair.

A frame is two lengths (head, body; 4 bytes each, big endian), the head, the body. Bodies travel
raw: an answer of a few megabytes is not encoded twice.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import orjson

_LENGTHS = struct.Struct(">II")


class Link:
    """One end. Reading ends with None when the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Link:
        end.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(reader, writer)

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Queue a frame; a gone peer is found by the reading side, and so is our own `close`."""
        if self._writer.is_closing():
            return
        # asyncpg has UUIDs of its own, which orjson does not know.
        text = orjson.dumps(head, default=str)
        self._writer.write(_LENGTHS.pack(len(text), len(body)) + text + body)

    async def drain(self) -> None:
        """Returns when the other end keeps up."""
        await self._writer.drain()

    async def receive(self) -> tuple[dict[str, Any], bytes] | None:
        try:
            head_bytes, body_bytes = _LENGTHS.unpack(await self._reader.readexactly(_LENGTHS.size))
            head = orjson.loads(await self._reader.readexactly(head_bytes))
            body = await self._reader.readexactly(body_bytes)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return head, body

    def close(self) -> None:
        self._writer.close()
