"""JetStream streams and durable consumers, as data. `bedplate migrate` declares them; subscribers
never do.

Sizes are bytes, times seconds. Names get the installation's prefix in front unless it is the
default one, so that two installations can share a broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .subjects import DEFAULT_PREFIX, Subject

MIB = 1024 * 1024
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@dataclass(frozen=True)
class Stream:
    """`subjects` and `republish` without prefix and version; `republish` is source, destination."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "workqueue"]
    age_s_max: float
    bytes_max: int
    description: str
    messages_per_subject_max: int = -1
    discard: Literal["old", "new"] = "old"
    duplicate_window_s: float = 120.0
    allow_direct: bool = False
    republish: tuple[str, str] | None = None


@dataclass(frozen=True)
class Consumer:
    """A durable pull consumer. `deliver_max` -1: redelivered for ever (what is lost is re-issued
    anyway)."""

    stream: str
    name: str
    filter: str
    ack_wait_s: float
    ack_pending_max: int
    deliver_max: int


RUN_EVENTS = Stream(
    name="RUN_EVENTS",
    subjects=("ev.*.*.*",),
    retention="limits",
    age_s_max=6 * HOUR_S,
    bytes_max=4 * 1024 * MIB,
    messages_per_subject_max=50_000,
    allow_direct=True,
    republish=("ev.*.*.*", "live.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"),
    description="Every run's own events, for replay.",
)
RUN_DISPATCH = Stream(
    name="RUN_DISPATCH",
    subjects=("dispatch.*.*",),
    retention="workqueue",
    age_s_max=DAY_S,
    bytes_max=256 * MIB,
    duplicate_window_s=600.0,
    description="Tickets of runs that may be claimed.",
)
LIFECYCLE = Stream(
    name="LIFECYCLE",
    subjects=("lc.>",),
    retention="limits",
    age_s_max=7 * DAY_S,
    bytes_max=2 * 1024 * MIB,
    duplicate_window_s=600.0,
    description="Facts as CloudEvents 1.0 JSON.",
)
DEAD = Stream(
    name="DEAD",
    subjects=("dead.>",),
    retention="limits",
    age_s_max=30 * DAY_S,
    bytes_max=512 * MIB,
    description="What no consumer could handle, with its reason.",
)


def installed_name(name: str, prefix: str) -> str:
    """A stream's name in this installation."""
    return name if prefix == DEFAULT_PREFIX else f"{prefix.upper()}_{name}"


STREAMS: tuple[Stream, ...] = (RUN_EVENTS, RUN_DISPATCH, LIFECYCLE, DEAD)


def stream_of(subject: Subject) -> Stream | None:
    """The stream that keeps what is published there, if one does."""
    for stream in STREAMS:
        if any(covers(pattern, subject.rest) for pattern in stream.subjects):
            return stream
    return None


def covers(pattern: str, rest: str) -> bool:
    """Whether a pattern with `*` and `>` can match a subject with `{…}`, both without prefix."""
    wanted, given = pattern.split("."), rest.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        given = given[: len(wanted)] if len(given) > len(wanted) else []
    return len(wanted) == len(given) and all(
        part in ("*", token) or token.startswith("{")
        for part, token in zip(wanted, given, strict=True)
    )


EXECUTORS = Consumer(
    stream="RUN_DISPATCH",
    name="executor-default",
    filter="dispatch.default.*",
    ack_wait_s=10.0,
    # A ticket counts as pending only between taking and claiming; the default of 1000 would stall
    # silently.
    ack_pending_max=10_000,
    deliver_max=-1,
)

CONSUMERS: tuple[Consumer, ...] = (EXECUTORS,)
