"""Which of the runs that wait for a ticket get one. Pure.

A lower priority number goes first. Among equals, the group that has the fewest runs in flight:
shares are counted in slots, as in max-min fairness, so a group that keeps its slots for long gets
fewer of them, and a group that comes new is served with the next slot however long another's queue
is. Runs that are over before the next look hold no slot then: so among groups that hold as many,
the one whose turn was longest ago. Within a group, who has waited longest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

K = TypeVar("K")


@dataclass(frozen=True)
class Limits:
    """`tickets`: how many may lie unclaimed. The others: runs in flight at once; None: no limit."""

    tickets: int
    per_tenant: int | None = None
    per_assistant: int | None = None
    per_user: int | None = None

    @property
    def are_capping(self) -> bool:
        return (self.per_tenant, self.per_assistant, self.per_user) != (None, None, None)


@dataclass(frozen=True)
class Claimant:
    """What decides about one run: whose it is."""

    tenant: str
    group: str
    assistant_id: UUID
    user: str | None


@dataclass(frozen=True)
class Waiting:
    """A run that is ready for a ticket."""

    run_id: UUID
    claimant: Claimant
    priority: int
    since: datetime


@dataclass
class InFlight:
    """How many runs have a ticket or are running, by all that counts."""

    groups: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    tenants: Counter[str] = field(default_factory=Counter[str])
    assistants: Counter[UUID] = field(default_factory=Counter[UUID])
    users: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def add(self, claimant: Claimant, runs: int = 1) -> None:
        self.groups[claimant.tenant, claimant.group] += runs
        self.tenants[claimant.tenant] += runs
        self.assistants[claimant.assistant_id] += runs
        if claimant.user is not None:
            self.users[claimant.tenant, claimant.user] += runs

    def has_room(self, claimant: Claimant, limits: Limits) -> bool:
        of_user = 0 if claimant.user is None else self.users[claimant.tenant, claimant.user]
        pairs = (
            (self.tenants[claimant.tenant], limits.per_tenant),
            (self.assistants[claimant.assistant_id], limits.per_assistant),
            (of_user, limits.per_user),
        )
        return all(limit is None or count < limit for count, limit in pairs)


@dataclass
class Turns:
    """Which group had its turn when, counted in tickets; one that had none comes first."""

    count: int = 0
    last: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def take(self, claimant: Claimant) -> None:
        self.count += 1
        self.last[claimant.tenant, claimant.group] = self.count

    def keep(self, waiting: Iterable[Waiting]) -> None:
        """Forget the groups nobody waits in: who comes back comes new."""
        groups = {(one.claimant.tenant, one.claimant.group) for one in waiting}
        self.last = {group: at for group, at in self.last.items() if group in groups}


@dataclass(frozen=True)
class Full:
    """Whose limits are reached: none of their runs need be looked at."""

    tenants: list[str]
    assistants: list[UUID]
    users: list[str]


def full(in_flight: InFlight, limits: Limits) -> Full:
    """Users are named without their tenant: `share_out` still looks at each run."""
    return Full(
        _at(in_flight.tenants, limits.per_tenant),
        _at(in_flight.assistants, limits.per_assistant),
        _at(_by_user(in_flight), limits.per_user),
    )


def share_out(
    waiting: Iterable[Waiting], in_flight: InFlight, turns: Turns, *, limits: Limits, room: int
) -> list[UUID]:
    """The runs that get a ticket now, at most `room`, in the order in which they should start.
    Counts them in `in_flight` and `turns`."""
    left: Sequence[Waiting] = list(waiting)
    chosen: list[UUID] = []
    while len(chosen) < room:
        left = [one for one in left if in_flight.has_room(one.claimant, limits)]
        if not left:
            break
        first = min(left, key=lambda one: _rank(one, in_flight, turns))
        chosen.append(first.run_id)
        in_flight.add(first.claimant)
        turns.take(first.claimant)
        left = [one for one in left if one is not first]
    return chosen


def _rank(one: Waiting, in_flight: InFlight, turns: Turns) -> tuple[int, int, int, datetime, UUID]:
    group = one.claimant.tenant, one.claimant.group
    return one.priority, in_flight.groups[group], turns.last.get(group, 0), one.since, one.run_id


def _at(counts: Counter[K], limit: int | None) -> list[K]:
    return [] if limit is None else [key for key, count in counts.items() if count >= limit]


def _by_user(in_flight: InFlight) -> Counter[str]:
    """The fewest runs that a user of this name has in any tenant."""
    fewest: Counter[str] = Counter()
    for (_, user), count in in_flight.users.items():
        fewest[user] = min(count, fewest.get(user, count))
    return fewest
