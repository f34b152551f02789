"""What a receiver is told, made of JSON texts that are passed on to the digit."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from bedplate.graphs.sealing import Sealing
from bedplate.ledger.deliveries import Due

_decoder = json.JSONDecoder()


async def opened(due: Due, sealing: Sealing | None) -> Due:
    """With what is encrypted as it is told. Raises `HandlerFailed`."""
    if sealing is None:
        return due
    values = None if due.values is None else await sealing.opened_text(due.values)
    return replace(due, run=await sealing.opened_text(due.run), values=values)


def body_of(due: Due, *, sent_at: datetime, allowed_fields: Collection[str] | None) -> bytes:
    """The run's row and how it ended; only `allowed_fields` of its members, if there are such."""
    members = {
        **members_of(due.run),
        "run_started_at": _instant(due.run_started_at),
        "run_ended_at": _instant(due.run_ended_at),
        "webhook_sent_at": _instant(sent_at),
        "values": due.values or "null",
        "error": json.dumps(due.error),
    }
    told = (
        f"{json.dumps(name)}:{text}"
        for name, text in members.items()
        if allowed_fields is None or name in allowed_fields
    )
    return ("{" + ",".join(told) + "}").encode()


def members_of(text: str) -> dict[str, str]:
    """The members of a JSON object, each as its text: parsed only as far as to find its end."""
    found: dict[str, str] = {}
    at = _after(text, "{", 0)
    while text[at] != "}":
        name, at = _decoder.raw_decode(text, at)
        start = _after(text, ":", at)
        _, at = _decoder.raw_decode(text, start)
        found[name] = text[start:at]
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _after(text: str, mark: str, at: int) -> int:
    at = _skip(text, at)
    if text[at] != mark:
        raise ValueError(f"{mark!r} expected at {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _instant(at: datetime | None) -> str:
    return json.dumps(None if at is None else at.isoformat())
