"""Whatever is removed, what stays reads the same values in the same order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.graphs.compaction import cut, fill, resolved

CHANNELS = ("a", "b")

Tree = dict[str, str | None]
Pairs = set[tuple[str, str]]


@st.composite
def threads(draw: st.DrawFn) -> tuple[Tree, Pairs, Pairs, list[set[str]]]:
    """A forest of checkpoints, which have a stored value or writes, and some removals."""
    names = [f"{n:02}" for n in range(draw(st.integers(1, 12)))]
    parents: Tree = {}
    for n, name in enumerate(names):
        # Mostly chains, sometimes branches, rarely another root or a parent that is gone already.
        at = draw(st.sampled_from([n - 1] * 6 + [draw(st.integers(0, max(n - 1, 0))), -1]))
        parents[name] = names[at] if 0 <= at < n else draw(st.sampled_from([None, None, "gone"]))
    pairs = st.sets(st.tuples(st.sampled_from(names), st.sampled_from(CHANNELS)))
    doomed = st.sets(st.sampled_from(names))
    return parents, draw(pairs), draw(pairs), draw(st.lists(doomed, min_size=1, max_size=3))


@settings(max_examples=400, deadline=None)
@given(threads())
def test_what_stays_is_rebuilt_from_the_same_values_after_any_removals(
    thread: tuple[Tree, Pairs, Pairs, list[set[str]]],
) -> None:
    parents, stored, written, removals = thread
    # A remnant's content, by the names of what it was made of.
    values = {pair: [f"value {pair[0]}"] for pair in stored}
    writes = {pair: [f"write {pair[0]}"] for pair in written}
    remnants_left: set[str] = set()

    def rebuilt(start: str, channel: str) -> list[str]:
        found: list[str] = []
        at = parents[start]
        while at is not None and at in parents:
            found += writes.get((at, channel), [])
            if (at, channel) in values:
                return [*found, *values[at, channel]]
            at = parents[at]
        return found

    steps = set(parents)
    expected = {
        (name, channel): rebuilt(name, channel)
        for name in parents
        for channel in CHANNELS
        if (name, channel) not in stored
    }
    for removal in removals:
        doomed = (removal & steps) | remnants_left
        steps -= removal
        remnants = cut(parents, doomed)
        needed = {name: {c for c in CHANNELS if (name, c) not in stored} for name in steps}
        fill(remnants, needed=needed, stored=set(values), written=set(writes))
        by_anchor = {remnant.anchor: remnant for remnant in remnants}
        new_values, new_writes = (
            {pair: kept for pair, kept in content.items() if pair[0] not in doomed}
            for content in (values, writes)
        )
        for remnant in remnants:
            for channel, seed in remnant.seeds.items():
                new_values[remnant.anchor, channel] = values[seed, channel]
            for channel, sources in remnant.writes.items():
                new_writes[remnant.anchor, channel] = [
                    write for source in sources for write in writes[source, channel]
                ]
        remnants_left = {anchor for anchor, r in by_anchor.items() if not r.is_empty}
        parents = {
            name: resolved(by_anchor[name].above if name in by_anchor else parents[name], by_anchor)
            for name in steps | remnants_left
        }
        values, writes = new_values, new_writes

        assert set(parents) == steps | remnants_left
        for name in steps:
            for channel in CHANNELS:
                if (name, channel) not in stored:
                    assert rebuilt(name, channel) == expected[name, channel]
        # Nothing is carried that nobody reads.
        for anchor in remnants_left:
            assert anchor in parents.values()


def test_a_removed_end_leaves_nothing() -> None:
    assert cut({"1": None, "2": "1", "3": "2"}, {"2", "3"}) == []


def test_a_removed_middle_without_delta_channels_leaves_nothing() -> None:
    (remnant,) = remnants = cut({"1": None, "2": "1", "3": "2", "4": "3"}, {"2", "3"})
    fill(remnants, needed={"4": set()}, stored={("1", "a")}, written={("2", "a")})

    assert remnant.is_empty
    assert resolved("3", {"3": remnant}) == "1"


def test_a_path_is_folded_from_its_newest_value_on() -> None:
    parents = {"1": None, "2": "1", "3": "2", "4": "3", "5": "4"}
    (remnant,) = remnants = cut(parents, {"1", "2", "3", "4"})
    fill(
        remnants,
        needed={"5": {"a"}},
        stored={("1", "a"), ("3", "a"), ("4", "b")},
        written={("2", "a"), ("3", "a"), ("4", "a"), ("4", "b")},
    )

    assert (remnant.anchor, remnant.above) == ("4", None)
    assert remnant.seeds == {"a": "3"}
    assert remnant.writes == {"a": ["4", "3"]}
