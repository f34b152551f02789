"""The order in which clients of the protocol need a namespace's first parts and its checkpoints.

The library sends a super-step's values and then the checkpoint that holds them; React pairs a
checkpoint with the values *after* it (that is how "edit from here" finds its parent). And it sends
a subgraph's first values before anything says what the subgraph is; the Python SDK drops what comes
before `started`. So both wait here for the part that follows, which the library sends in the same
breath: at most a few parts per namespace, never tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from bedplate.graphs.protocol_lines import Namespace, Part

_ROOT: Namespace = ()
_WAITING_MODES = frozenset({"values", "checkpoints"})


class Order:
    """`arranged` for every part as it comes, `below` before a task's result, `rest` at the end."""

    def __init__(self, *, is_checkpointed: bool) -> None:
        self._held: dict[Namespace, list[Part]] = {}
        self._begun: set[Namespace] = {_ROOT}
        # Where a checkpoint follows each step's values; a subgraph may have no checkpointer.
        self._checkpointed: set[Namespace] = {_ROOT} if is_checkpointed else set()

    def arranged(self, part: Part) -> Iterator[Part]:
        """`part`, and what waited for it; nothing yet if it has to wait itself."""
        namespace, mode = part.namespace, part.mode
        if mode not in _WAITING_MODES:
            self._begun.add(namespace)
            yield from self._held.pop(namespace, ())
            yield part
            return
        held = self._held.setdefault(namespace, [])
        is_begun = namespace in self._begun
        if mode == "checkpoints":
            self._checkpointed.add(namespace)
            at = len(held) - 1 if held and held[-1].mode == "values" else len(held)
            held.insert(at, part)
            if is_begun:
                yield from self._held.pop(namespace)
            return
        if held and held[-1].mode == "values" and is_begun:
            yield from self._held.pop(namespace)
            held = self._held.setdefault(namespace, [])
        held.append(part)
        # No checkpoint follows the values that only tell of an interrupt.
        if is_begun and (part.interrupts or namespace not in self._checkpointed):
            yield from self._held.pop(namespace)

    def below(self, namespace: Namespace) -> Iterator[Part]:
        """What still waits in the graphs under `namespace`: one of its tasks is over."""
        depth = len(namespace)
        over = [other for other in self._held if len(other) > depth and other[:depth] == namespace]
        for other in over:
            yield from self._held.pop(other)

    def rest(self) -> Iterator[Part]:
        while self._held:
            yield from self._held.pop(next(iter(self._held)))
