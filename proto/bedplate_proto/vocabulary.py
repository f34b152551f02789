"""The words: states, strategies, modes. One spelling for code, SQL, the bus and the HTTP API."""

from __future__ import annotations

from enum import StrEnum

DEFAULT_TENANT = "default"


class RunStatus(StrEnum):
    """A run's life. The last four are terminal and never change again."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"

    @property
    def is_terminal(self) -> bool:
        return self not in (RunStatus.PENDING, RunStatus.RUNNING)


class ThreadStatus(StrEnum):
    """`busy` while a run is pending or running; `interrupted` when the last checkpoint still has
    next nodes."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class MultitaskStrategy(StrEnum):
    """What a new run on a busy thread does."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class CancelAction(StrEnum):
    """`interrupt` keeps what the run saved, `rollback` removes the run as if it had never been."""

    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class StreamMode(StrEnum):
    VALUES = "values"
    UPDATES = "updates"
    MESSAGES = "messages"
    MESSAGES_TUPLE = "messages-tuple"
    TASKS = "tasks"
    CHECKPOINTS = "checkpoints"
    EVENTS = "events"
    DEBUG = "debug"
    CUSTOM = "custom"
    TOOLS = "tools"


class Durability(StrEnum):
    """When checkpoints are written: before the next step, beside it, or once at the end."""

    SYNC = "sync"
    ASYNC = "async"
    EXIT = "exit"


class IfNotExists(StrEnum):
    CREATE = "create"
    REJECT = "reject"


class IfExists(StrEnum):
    RAISE = "raise"
    DO_NOTHING = "do_nothing"


class OnDisconnect(StrEnum):
    CONTINUE = "continue"
    CANCEL = "cancel"


class TtlStrategy(StrEnum):
    """What becomes of a thread whose time to live is over."""

    DELETE = "delete"
    KEEP_LATEST = "keep_latest"
    """It loses all of its checkpoints but the newest."""


class OnCompletion(StrEnum):
    DELETE = "delete"
    KEEP = "keep"


class EventName(StrEnum):
    """Event names of a run that are not stream modes."""

    METADATA = "metadata"
    ERROR = "error"
    END = "end"
    PROTOCOL = "v2"
    """A line for the event-streaming protocol, whose own event is in the data."""
