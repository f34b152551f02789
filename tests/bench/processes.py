"""What groups of processes cost: CPU seconds and memory, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MIB = 1024 * 1024


class Group:
    """Processes by name; `pids` is asked anew each time, because backends come and go."""

    def __init__(self, members: Mapping[str, Callable[[], Sequence[int]]]) -> None:
        self._members = members

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds per name since they started, with the children that are gone already."""
        return {
            name: sum(_cpu_s(pid) for pid in pids()) + (_own_s() if name == "client" else 0.0)
            for name, pids in self._members.items()
        }

    def rss_mib(self) -> dict[str, float]:
        """Resident memory; pages that processes share are counted in each of them."""
        return {
            name: sum(_memory_bytes(pid, "Rss") for pid in pids()) / _MIB
            for name, pids in self._members.items()
        }

    def pss_mib(self) -> dict[str, float]:
        """The same with shared pages counted once in all."""
        return {
            name: sum(_memory_bytes(pid, "Pss") for pid in pids()) / _MIB
            for name, pids in self._members.items()
        }


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in after}


def nobody() -> Sequence[int]:
    """The pids of `client`: the load is made in this process, which knows its own CPU better."""
    return ()


def family(pid: int) -> list[int]:
    """A process and everything below it."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _own_s() -> float:
    times = os.times()
    return times.user + times.system


def _cpu_s(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # The name in brackets may hold spaces; utime, stime, cutime and cstime are fields 14 to 17.
    fields = text.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def _memory_bytes(pid: int, kind: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
