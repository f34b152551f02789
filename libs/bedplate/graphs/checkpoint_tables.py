"""What happens to checkpoints besides being put and read: forgotten, copied, measured.

Functions of an asyncpg connection, for use inside somebody else's transaction; nothing here imports
langgraph. The caller sees to it that no run writes to the thread meanwhile (a fence, or the
thread's row locked); two of these on one thread wait for each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson

from bedplate.kernel.errors import Refused
from bedplate.sql import Statements

from .compaction import Remnant, cut, fill, resolved

_sql = Statements("bedplate.graphs")

ThreadId = str | UUID

# The channel of pending sends, which checkpoints before format 4 read from their parent's writes.
_SENDS = "__pregel_tasks"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def forget_threads(connection: Any, thread_ids: Iterable[ThreadId]) -> None:
    """Remove everything of these threads. Idempotent."""
    await connection.execute(_sql["forget_threads"], [str(thread_id) for thread_id in thread_ids])


async def leave_to_forget(connection: Any, thread_ids: Iterable[ThreadId]) -> None:
    """As `forget_threads`, of a checkpointer that only executors can reach: they do it later."""
    threads = [str(thread_id) for thread_id in thread_ids]
    await connection.execute(_sql["leave_chores"], threads, "delete")


async def leave_to_prune(connection: Any, thread_id: ThreadId) -> None:
    """As `keep_latest`, likewise."""
    await connection.execute(_sql["leave_chores"], [str(thread_id)], "keep_latest")


async def leave_uncopied(connection: Any, source: ThreadId, target: ThreadId) -> None:
    """As `copy_thread`, likewise: whoever asked for the copy asks an executor next."""
    del connection, source, target


async def copy_thread(connection: Any, source: ThreadId, target: ThreadId) -> None:
    """Give `target` all checkpoints of `source`, open interrupts included. Idempotent."""
    await connection.execute(_sql["copy_thread_checkpoints"], str(source), str(target))


async def patch_newest(connection: Any, thread_id: ThreadId, metadata: str) -> None:
    """Merge JSON key by key into the metadata of the thread's newest checkpoint. Raises
    `Refused` when there is none."""
    if await connection.fetchval(_sql["patch_newest"], str(thread_id), metadata) is None:
        raise Refused(
            "Thread has no state yet: there is no checkpoint whose metadata could change."
        )


async def bytes_of_thread(connection: Any, thread_id: ThreadId) -> int:
    """The size of the thread's rows, compressed as they are stored, without indexes."""
    return int(await connection.fetchval(_sql["measure_thread"], str(thread_id)))


async def forget_runs(
    connection: Any, run_ids: Sequence[str | UUID], *, thread_ids: Sequence[ThreadId] | None = None
) -> None:
    """Take runs back: their checkpoints go, and what they wrote onto checkpoints of earlier runs.

    Later runs keep their values: what a DeltaChannel of theirs is rebuilt from stays, and so do
    writes that a checkpoint that stays has consumed. Without `thread_ids` a run is taken back on
    the thread that the ledger says; one that the ledger does not know, wherever it left anything,
    which reads the whole table.
    """
    runs = [str(run_id) for run_id in run_ids]
    threads = await _threads_of(connection, runs) if thread_ids is None else thread_ids
    for thread_id in sorted(str(thread_id) for thread_id in threads):
        tree = await _tree(connection, thread_id)
        for checkpoint_ns, nodes in tree.items():
            if any(node["run_id"] in runs for node in nodes):
                doomed = {n["checkpoint_id"] for n in nodes if n["run_id"] in runs}
                await _remove(connection, thread_id, checkpoint_ns, nodes, doomed)
        heads = _childless(await _tree(connection, thread_id))
        await connection.execute(
            _sql["undo_writes"], thread_id, runs, [ns for ns, _ in heads], [id_ for _, id_ in heads]
        )


async def _threads_of(connection: Any, runs: list[str]) -> set[str]:
    # A tool may have named its runs as it likes; the ledger's are UUIDs.
    ids = [run_id for run_id in runs if _UUID.fullmatch(run_id)]
    rows = await connection.fetch(_sql["find_threads_of_known_runs"], ids)
    threads = {row["thread_id"] for row in rows}
    unknown = set(runs) - {row["run_id"] for row in rows}
    if unknown:
        rows = await connection.fetch(_sql["find_threads_of_runs"], sorted(unknown))
        threads |= {row["thread_id"] for row in rows}
    return threads


async def keep_latest(connection: Any, thread_id: ThreadId) -> None:
    """Remove all but the newest checkpoint of each namespace, and with a removed checkpoint of the
    main graph the calls of subgraphs that started from it."""
    thread = str(thread_id)
    tree = await _tree(connection, thread)
    heads = {
        ns: max(
            (n for n in nodes if not n["is_compacted"]),
            key=lambda n: n["checkpoint_id"],
            default=None,
        )
        for ns, nodes in tree.items()
    }
    root = heads.get("")
    kept_root = None if root is None else root["checkpoint_id"]
    roots = {node["checkpoint_id"] for node in tree.get("", ())}
    # A call's namespace has its task id after a colon. Without one it is a subgraph with a memory
    # of its own, which outlives its calls.
    calls = [
        ns
        for ns, head in heads.items()
        if ":" in ns and head and head["root"] in roots and head["root"] != kept_root
    ]
    if calls:
        await connection.execute(_sql["forget_namespace"], thread, calls)
    for checkpoint_ns, nodes in tree.items():
        head = heads[checkpoint_ns]
        if checkpoint_ns not in calls and head is not None:
            doomed = {n["checkpoint_id"] for n in nodes} - {head["checkpoint_id"]}
            await _remove(connection, thread, checkpoint_ns, nodes, doomed)


async def _tree(connection: Any, thread_id: str) -> dict[str, list[Any]]:
    """The thread's checkpoints by namespace. Locked against another compaction."""
    await connection.execute(_sql["lock_compaction"], thread_id)
    tree: dict[str, list[Any]] = {}
    for row in await connection.fetch(_sql["read_tree"], thread_id):
        tree.setdefault(row["checkpoint_ns"], []).append(row)
    return tree


def _childless(tree: dict[str, list[Any]]) -> list[tuple[str, str]]:
    """The checkpoints whose pending writes no other checkpoint has consumed."""
    heads: list[tuple[str, str]] = []
    for checkpoint_ns, nodes in tree.items():
        parents = {node["parent_checkpoint_id"] for node in nodes}
        ids = {node["checkpoint_id"] for node in nodes}
        heads.extend((checkpoint_ns, checkpoint_id) for checkpoint_id in sorted(ids - parents))
    return heads


async def _remove(
    connection: Any, thread_id: str, checkpoint_ns: str, nodes: list[Any], doomed: set[str]
) -> None:
    """Remove checkpoints of one namespace so that the others stay readable (see `compaction`)."""
    # What earlier compactions left is decided anew: it may carry nothing any more.
    doomed = doomed | {node["checkpoint_id"] for node in nodes if node["is_compacted"]}
    if not doomed:
        return
    place = (thread_id, checkpoint_ns)
    parents = {node["checkpoint_id"]: node["parent_checkpoint_id"] for node in nodes}
    remnants = cut(parents, doomed)
    await _fill(connection, place, remnants)
    by_anchor = {remnant.anchor: remnant for remnant in remnants}
    carrying = [remnant for remnant in remnants if not remnant.is_empty]
    freed = await connection.fetch(_sql["read_versions"], *place, list(doomed))

    for remnant in carrying:
        await _fold(connection, place, remnant)
    await connection.execute(_sql["delete_writes"], *place, list(doomed))
    for remnant in carrying:
        # It takes its stored values from its own path, which no other remnant is part of.
        await connection.execute(_sql["rename_writes"], *place, _name(remnant), remnant.anchor)
        await connection.execute(
            _sql["write_remnant"],
            *place,
            remnant.anchor,
            resolved(remnant.above, by_anchor),
            orjson.dumps(remnant.seeds).decode(),
        )
    gone = doomed - {remnant.anchor for remnant in carrying}
    await connection.execute(_sql["delete_checkpoints"], *place, list(gone))
    moves = [
        (child, resolved(remnant.anchor, by_anchor))
        for remnant in remnants
        if remnant.is_empty
        for child in remnant.children
    ]
    await connection.execute(
        _sql["reparent_checkpoints"], *place, [move[0] for move in moves], [m[1] for m in moves]
    )
    await _drop_blobs(connection, place, freed)


async def _fill(connection: Any, place: tuple[str, str], remnants: list[Remnant]) -> None:
    """Find out what the remnants have to carry."""
    children = [child for remnant in remnants for child in remnant.children]
    if not children:
        return
    rows = await connection.fetch(_sql["read_counters"], *place, children)
    counted = {row["checkpoint_id"]: set(row["channels"]) for row in rows}
    channels = sorted(set().union(*counted.values()))
    path = [checkpoint_id for remnant in remnants for checkpoint_id in remnant.path]
    stored: set[tuple[str, str]] = set()
    written: set[tuple[str, str]] = set()
    if channels:
        found = await connection.fetch(_sql["read_stored"], *place, [*path, *children], channels)
        stored = {(row["checkpoint_id"], row["channel"]) for row in found}
        found = await connection.fetch(_sql["read_written"], *place, path, channels)
        written = {(row["checkpoint_id"], row["channel"]) for row in found}
    needed = {
        child: {channel for channel in mine if (child, channel) not in stored}
        for child, mine in counted.items()
    }
    fill(remnants, needed=needed, stored=stored, written=written)
    olds = {row["checkpoint_id"] for row in rows if row["is_old"]}
    await _keep_sends(connection, place, [r for r in remnants if olds & set(r.children)])


async def _keep_sends(connection: Any, place: tuple[str, str], remnants: list[Remnant]) -> None:
    """Checkpoints of old formats read their pending sends from their parent."""
    if not remnants:
        return
    anchors = [remnant.anchor for remnant in remnants]
    rows = await connection.fetch(_sql["read_written"], *place, anchors, [_SENDS])
    with_sends = {row["checkpoint_id"] for row in rows}
    for remnant in remnants:
        if remnant.anchor in with_sends:
            remnant.writes[_SENDS] = [remnant.anchor]


def _name(remnant: Remnant) -> str:
    """What folded writes are called until the path's own writes are gone."""
    return remnant.anchor + "~"


async def _fold(connection: Any, place: tuple[str, str], remnant: Remnant) -> None:
    # The path runs upwards; the oldest has to be read first.
    age = {checkpoint_id: -position for position, checkpoint_id in enumerate(remnant.path)}
    sources = [
        (checkpoint_id, channel, age[checkpoint_id])
        for channel, checkpoint_ids in remnant.writes.items()
        for checkpoint_id in checkpoint_ids
    ]
    columns = [list(column) for column in zip(*sources, strict=True)] or [[], [], []]
    await connection.execute(_sql["fold_writes"], *place, _name(remnant), *columns)


async def _drop_blobs(connection: Any, place: tuple[str, str], freed: list[Any]) -> None:
    """Remove the values that only removed checkpoints referred to."""
    # Looked up by primary key, channel by channel: joining two sets of a huge thread's rows is
    # planned from estimates that are worst for it.
    rows = await connection.fetch(_sql["read_versions"], *place, None)
    kept = {(row["channel"], row["version"]) for row in rows}
    garbage: dict[str, list[str]] = {}
    for row in freed:
        if (row["channel"], row["version"]) not in kept:
            garbage.setdefault(row["channel"], []).append(row["version"])
    for channel, versions in garbage.items():
        await connection.execute(_sql["delete_blobs"], *place, channel, versions)
