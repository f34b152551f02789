"""The next time a schedule is due. Pure.

A schedule is read on the clock of its zone. The library (`croniter`) only ever sees a wall clock
that neither jumps nor repeats; what happens on the two days a year when a real one does is decided
here, as cron itself does it (cron(8) of Debian):

* a schedule whose hour field begins with `*` follows the hand of the clock: it is due at every
  instant at which the clock shows a time that fits. Hours that are left out do not come, hours that
  are repeated come twice. `*/15 * * * *` is due every quarter of an hour, whatever the clock does.
* a schedule that names its hours is due once for each time it names. If the clock jumps over that
  time, it is due at the instant of the jump (once, however many of its times were jumped over); of
  a time that is repeated, the first is taken. `30 2 * * *` is due once a day, every day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import croniter

from .errors import Refused

SCHEDULE_CHARS_MAX = 256
ZONE_CHARS_MAX = 64
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = (5, 6)
_HOUR = 1
# Any day will do: what is not due within the fifty years after it never is.
_TRIED_FROM = datetime(2024, 1, 1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Schedule:
    """Five fields of cron, or six with seconds as the last, or a word like `@hourly`; read in an
    IANA zone (None: UTC).

    Making one raises `Refused` for what cannot be read, or is never due.
    """

    text: str
    timezone: str | None = None
    _expression: str = field(init=False, repr=False, compare=False)
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_zone", _zone_of(self.timezone))
        object.__setattr__(self, "_expression", _expression_of(self.text))
        try:
            self._next_wall(_TRIED_FROM)
        except (ValueError, KeyError, OverflowError) as error:
            raise Refused(f"schedule: cannot be read, or is never due: {error}") from error

    def next_after(self, at: datetime) -> datetime | None:
        """The first instant after `at` (aware) at which it is due, in UTC; None: not any more."""
        after = at.astimezone(UTC)
        try:
            return self._search(after)
        except (ValueError, OverflowError):
            # Past what the library or the calendar can count.
            return None

    @property
    def _follows_the_hand(self) -> bool:
        return self._expression.split()[_HOUR].startswith("*")

    def _search(self, after: datetime) -> datetime:
        """Between two shifts of the clock, wall time and UTC differ by the same offset: so look for
        the next wall time with the offset that counts now, and begin anew behind a shift."""
        offset = self._offset(after)
        wall = self._next_wall(_plain(after) + offset)
        while True:
            due = _aware(wall - offset)
            if self._offset(due) == offset:
                local = due.astimezone(self._zone)
                if not (local.fold and not self._follows_the_hand):
                    return due
                # The second time that the clock shows this: go on where it stops repeating itself.
                first = local.replace(fold=0).utcoffset() or timedelta()
                shift = self._shift(due - (first - offset), due)
                wall = self._next_wall(_plain(shift) + first, is_included=True)
                continue
            shift = self._shift(after, due)
            offset = self._offset(shift)
            if not self._follows_the_hand and wall < _plain(shift) + offset:
                return shift  # The clock jumped over it.
            after = shift
            wall = self._next_wall(_plain(shift) + offset, is_included=True)

    def _shift(self, low: datetime, high: datetime) -> datetime:
        """The instant in (low, high] from which on the clock has another offset than at `low`."""
        before = self._offset(low)
        while high - low > _SECOND:
            middle = low + (high - low) / 2
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        # Shifts are at whole seconds.
        return high.replace(microsecond=0)

    def _next_wall(self, wall: datetime, *, is_included: bool = False) -> datetime:
        start = wall - timedelta(microseconds=1) if is_included else wall
        return croniter(self._expression, start).get_next(datetime)

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self._zone).utcoffset() or timedelta()


@lru_cache(maxsize=1024)
def schedule_of(text: str, timezone: str | None) -> Schedule:
    """Read once: most crons of a server share a few schedules. Raises `Refused`."""
    return Schedule(text, timezone)


@dataclass(frozen=True)
class Turn:
    """What becomes of a cron that is due. `next_at` None: it will not fire any more."""

    fires: bool
    next_at: datetime | None


def turn(
    schedule: Schedule,
    *,
    due_at: datetime,
    now: datetime,
    end_time: datetime | None,
    late_s_max: float,
) -> Turn:
    """A slot that nobody looked at in time is let go, and so are all between it and now: after a
    night off the air, a server must not do what was to be done last night."""
    is_late = (now - due_at).total_seconds() > late_s_max
    # A clock that is behind the one that set `due_at` must not find the same slot again.
    return Turn(not is_late, planned(schedule, after=max(now, due_at), end_time=end_time))


def planned(schedule: Schedule, *, after: datetime, end_time: datetime | None) -> datetime | None:
    """The next time it is due, unless that is past its end."""
    due_at = schedule.next_after(after)
    is_over = due_at is None or (end_time is not None and due_at > end_time)
    return None if is_over else due_at


def _plain(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)


def _zone_of(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        if not 0 < len(name) <= ZONE_CHARS_MAX:
            raise ValueError(f"1 to {ZONE_CHARS_MAX} characters")
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:
        raise Refused(f"timezone: '{name[:ZONE_CHARS_MAX]}' is no IANA time zone") from error


def _expression_of(text: str) -> str:
    """The schedule as fields. Refuses what the library takes for chance (`R`, `H`) and years."""
    if len(text) > SCHEDULE_CHARS_MAX:
        raise Refused(f"schedule: longer than {SCHEDULE_CHARS_MAX} characters")
    word = text.strip().lower()
    if word.startswith("@"):
        if word not in _ALIASES:
            raise Refused(f"schedule: no such word; known are {', '.join(_ALIASES)}")
        return _ALIASES[word]
    fields = text.split()
    if len(fields) not in _FIELDS:
        raise Refused("schedule: must have 5 fields, or 6 with seconds as the last")
    if any(part.lower().startswith(("h", "r")) for each in fields for part in each.split(",")):
        raise Refused("schedule: hashed and random fields are not supported")
    return " ".join(fields)
