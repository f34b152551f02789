"""Which checkpoints can go, and what of them has to stay for the others to be readable. Pure.

A DeltaChannel is rebuilt by walking up from a checkpoint: the nearest stored value, and the writes
on every checkpoint from there down to the parent. Removing a checkpoint in the middle would cut
that walk. So where a checkpoint that stays has a parent that goes, the removed path above it is
folded into that parent: it keeps its id, loses everything that made it a step, and carries the
stored value nearest to it and all writes of the path that came after, in their order. The walk then
finds the same values in the same order, with either saver. Such a `Remnant` is marked `compacted`;
the next compaction folds it again, or drops it when nothing needs it any more.

Folding upwards instead, into the next checkpoint that stays, would be wrong when that one has other
children: they would read the writes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Remnant:
    """What stays of a removed path. `path` runs from `anchor` upwards, newest first."""

    anchor: str
    path: list[str]
    # The next checkpoint above the path that stays, or the anchor of another remnant.
    above: str | None
    # The checkpoints that stay and have the anchor as parent.
    children: list[str]
    # channel -> the checkpoint of the path whose stored value the remnant takes over
    seeds: dict[str, str] = field(default_factory=dict)
    # channel -> the checkpoints of the path whose writes it takes over, newest first
    writes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.seeds and not any(self.writes.values())


def cut(parents: Mapping[str, str | None], doomed: set[str]) -> list[Remnant]:
    """The remnants that may be needed when `doomed` go, descendants before ancestors. `parents`
    has every checkpoint of one namespace."""
    children: dict[str, list[str]] = {}
    for checkpoint_id, parent in parents.items():
        if parent in doomed and checkpoint_id not in doomed:
            children.setdefault(parent, []).append(checkpoint_id)
    remnants: list[Remnant] = []
    for anchor, mine in children.items():
        path = [anchor]
        above = parents.get(anchor)
        while above is not None and above in doomed and above not in children:
            path.append(above)
            above = parents.get(above)
        remnants.append(Remnant(anchor, path, above if above in parents else None, sorted(mine)))
    return _descendants_first(remnants)


def _descendants_first(remnants: list[Remnant]) -> list[Remnant]:
    by_anchor = {remnant.anchor: remnant for remnant in remnants}
    depths: dict[str, int] = {}
    for remnant in remnants:
        chain: list[str] = []
        at: Remnant | None = remnant
        while at is not None and at.anchor not in depths:
            chain.append(at.anchor)
            at = by_anchor.get(at.above) if at.above is not None else None
        depth = depths[at.anchor] if at is not None else 0
        for anchor in reversed(chain):
            depth += 1
            depths[anchor] = depth
    return sorted(remnants, key=lambda remnant: -depths[remnant.anchor])


def fill(
    remnants: Iterable[Remnant],
    *,
    needed: Mapping[str, set[str]],
    stored: set[tuple[str, str]],
    written: set[tuple[str, str]],
) -> None:
    """Decide what each remnant takes over. `remnants` as `cut` returns them.

    needed: checkpoint that stays -> channels its value does not hold, which are read from above
    stored, written: (checkpoint, channel) pairs that have a value, and writes, of their own
    """
    wanted: dict[str, set[str]] = {}
    for remnant in remnants:
        channels = set(wanted.get(remnant.anchor, ()))
        for child in remnant.children:
            channels |= needed.get(child, set())
        for channel in channels:
            for checkpoint_id in remnant.path:
                if (checkpoint_id, channel) in written:
                    remnant.writes.setdefault(channel, []).append(checkpoint_id)
                if (checkpoint_id, channel) in stored:
                    remnant.seeds[channel] = checkpoint_id
                    break
            else:
                if remnant.above is not None:
                    wanted.setdefault(remnant.above, set()).add(channel)


def resolved(parent: str | None, remnants: Mapping[str, Remnant]) -> str | None:
    """`parent` as it is after the cut: past the remnants that have nothing to carry."""
    while parent is not None and parent in remnants and remnants[parent].is_empty:
        parent = remnants[parent].above
    return parent
