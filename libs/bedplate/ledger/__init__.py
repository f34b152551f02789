"""The truth: threads, runs, crons and the outbox in PostgreSQL.

Cast: the *scheduler* creates, dispatches, cancels and expires; *executors* claim, renew, release,
lose and finish; the *gateway* makes threads and changes what is theirs alone. `Admissions` (new
runs, cancels), `Dispatch` (tickets), `Ledger` (runs at work) and `Threads` are the only code that
writes these tables. Each verb is one statement where it is hot, one short transaction where it is
not, and answers with what it found (`Applied`, `Superseded`, `Missing`), never with a bare boolean.

Promises: at most one run of a thread is running (also a unique index); a run's attempt number grows
with every claim; what an older attempt writes is refused; a change and the messages that tell of it
are committed together. Not promised: that messages arrive once, or in order. Lock order: thread,
cron, run, outbox.
"""

from .admissions import Admissions, Admitted, Stopped
from .connect import NOT_THERE_YET, make_pool
from .crons import AssistantNow, Crons, Decided, Due, Fired, Firing, Orphaned
from .dispatch import Dispatch, Queue, Turn, Work
from .messages import Finish, Messages
from .moves import (
    Applied,
    Claimed,
    Closed,
    Lost,
    Missing,
    Outcome,
    Renewal,
    Superseded,
)
from .outbox import Outbox, Outgoing, Publish
from .parcels import Parcels
from .runs import Ledger
from .threads import NewThread, ThreadChange, Threads

__all__ = [
    "NOT_THERE_YET",
    "Admissions",
    "Admitted",
    "Applied",
    "AssistantNow",
    "Claimed",
    "Closed",
    "Crons",
    "Decided",
    "Dispatch",
    "Due",
    "Finish",
    "Fired",
    "Firing",
    "Ledger",
    "Lost",
    "Messages",
    "Missing",
    "NewThread",
    "Orphaned",
    "Outbox",
    "Outcome",
    "Outgoing",
    "Parcels",
    "Publish",
    "Queue",
    "Renewal",
    "Stopped",
    "Superseded",
    "ThreadChange",
    "Threads",
    "Turn",
    "Work",
    "make_pool",
]
