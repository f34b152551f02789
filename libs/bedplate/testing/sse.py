"""Server-Sent Events as a client sees them: whole answers and open ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import httpx
import orjson


class Frame(NamedTuple):
    name: str
    data: Any
    id: str | None


def frames_of(text: str) -> list[Frame]:
    """The events of a stream that has ended; comments (heartbeats) are none."""
    blocks = [block for block in text.split("\r\n\r\n") if block and not block.startswith(":")]
    return [_frame(block.split("\r\n")) for block in blocks]


async def frames_from(answer: httpx.Response) -> AsyncGenerator[Frame]:
    """Each event as it comes."""
    lines: list[str] = []
    async for line in answer.aiter_lines():
        if line and not line.startswith(":"):
            lines.append(line)
        elif not line and lines:
            yield _frame(lines)
            lines = []


def _frame(lines: list[str]) -> Frame:
    fields = dict(line.split(": ", 1) for line in lines)
    return Frame(fields["event"], orjson.loads(fields["data"]), fields.get("id"))
