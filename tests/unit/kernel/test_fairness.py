"""Who gets a ticket: priority, then the group with the fewest runs in flight, then who waits
longest; never past a limit."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as some

from bedplate.kernel.fairness import Claimant, InFlight, Limits, Turns, Waiting, full, share_out

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ASSISTANTS = [UUID(int=number) for number in (1, 2)]


def waiting(
    number: int, group: str = "a", *, priority: int = 0, tenant: str = "t", user: str | None = None
) -> Waiting:
    claimant = Claimant(tenant, group, ASSISTANTS[number % 2], user)
    return Waiting(UUID(int=number), claimant, priority, BEGAN + timedelta(seconds=number))


def shared(
    runs: list[Waiting],
    *,
    limits: Limits | None = None,
    room: int = 100,
    busy: InFlight | None = None,
    turns: Turns | None = None,
) -> list[int]:
    limits = limits or Limits(tickets=100)
    chosen = share_out(runs, busy or InFlight(), turns or Turns(), limits=limits, room=room)
    return [run_id.int for run_id in chosen]


def test_a_new_group_is_served_next_however_long_anothers_queue_is() -> None:
    busy = InFlight()
    busy.add(waiting(0, "crowd").claimant, 10)
    crowd = [waiting(number, "crowd") for number in range(1, 1000)]
    assert shared([*crowd, waiting(5000, "new")], busy=busy, room=3) == [5000, 1, 2]


def test_groups_take_turns() -> None:
    runs = [*(waiting(n, "a") for n in (1, 2, 3)), *(waiting(n, "b") for n in (11, 12, 13))]
    assert shared(runs, room=4) == [1, 11, 2, 12]


def test_groups_take_turns_also_where_each_run_is_over_before_the_next_look() -> None:
    turns = Turns()
    left = [*(waiting(n, "crowd") for n in range(1, 20)), waiting(50, "late"), waiting(51, "later")]
    begun: list[int] = []
    for _ in range(5):
        turns.keep(left)
        begun += shared(left, room=1, turns=turns)
        left = [one for one in left if one.run_id.int not in begun]
    assert begun == [1, 50, 51, 2, 3]
    assert turns.last.keys() == {("t", "crowd")}, "the others have nobody who waits"


def test_a_lower_number_goes_first() -> None:
    runs = [waiting(1, priority=5), waiting(2), waiting(3, priority=-5), waiting(4, "b")]
    assert shared(runs) == [3, 4, 2, 1]


def test_a_user_at_the_limit_holds_nobody_else_up() -> None:
    runs = [waiting(n, user="u") for n in range(1, 6)] + [waiting(9, user="v"), waiting(10)]
    assert shared(runs, limits=Limits(tickets=100, per_user=2)) == [1, 2, 9, 10]


def test_users_of_one_name_in_two_tenants_are_two() -> None:
    busy = InFlight()
    busy.add(waiting(0, user="u", tenant="x").claimant, 3)
    limits = Limits(tickets=100, per_user=3)
    assert full(busy, limits).users == ["u"], "it is left out only where nobody has room"
    busy.add(waiting(0, user="u", tenant="y").claimant, 1)
    assert full(busy, limits).users == []
    runs = [waiting(1, user="u", tenant="x"), waiting(2, user="u", tenant="y")]
    assert shared(runs, limits=limits, busy=busy) == [2]


@given(
    runs=some.lists(
        some.builds(
            waiting,
            some.integers(1, 10_000),
            some.sampled_from("abc"),
            priority=some.integers(-5, 5),
            tenant=some.sampled_from("tu"),
            user=some.sampled_from([None, "v", "w"]),
        ),
        max_size=40,
        unique_by=lambda run: run.run_id,
    ),
    limits=some.builds(
        Limits,
        tickets=some.just(100),
        per_tenant=some.none() | some.integers(1, 9),
        per_assistant=some.none() | some.integers(1, 9),
        per_user=some.none() | some.integers(1, 9),
    ),
    room=some.integers(0, 20),
)
def test_no_limit_is_passed_and_no_room_is_left_that_somebody_could_have(
    runs: list[Waiting], limits: Limits, room: int
) -> None:
    busy = InFlight()
    chosen = share_out(runs, busy, Turns(), limits=limits, room=room)
    assert len(chosen) == len(set(chosen)) <= room
    got = [run.claimant for run in runs if run.run_id in chosen]
    for counted, limit in (
        (Counter(one.tenant for one in got), limits.per_tenant),
        (Counter(one.assistant_id for one in got), limits.per_assistant),
        (Counter((one.tenant, one.user) for one in got if one.user), limits.per_user),
    ):
        assert limit is None or all(count <= limit for count in counted.values())
    left = [run for run in runs if run.run_id not in chosen]
    assert len(chosen) == room or not any(busy.has_room(run.claimant, limits) for run in left)
