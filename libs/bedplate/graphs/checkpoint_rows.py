"""LangGraph's checkpoints as rows and back, in the stock saver's format.

A checkpoint's JSON holds what is None, text, number or bool; every other value is a blob by channel
and version, written once. A DeltaChannel's snapshot is a blob with `true` in its place in the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde import types as serde_types
from langgraph.checkpoint.serde.base import SerializerProtocol

from .committer import BlobRow, CheckpointRow, WriteRow
from .serde import Unserialisable, dump, is_inline

# Part of the storage format, although its name is private.
_DeltaSnapshot = serde_types._DeltaSnapshot  # pyright: ignore[reportPrivateUsage]

# Scalars of `configurable` end up in checkpoint metadata, and forwarded headers are among them.
_CREDENTIAL_WORDS = ("key", "token", "secret", "password", "authorization", "credential", "cookie")
# Says of a parent that it is left for the values above it alone. The library passes it on unread,
# and saves no key that begins like this.
_COMPACTED = "__compacted"
# The first checkpoint format that keeps pending sends in the checkpoint itself.
_SENDS_INSIDE_SINCE = 4


@dataclass(frozen=True, slots=True)
class StoredWrite:
    task_id: str
    idx: int
    channel: str
    type: str
    blob: bytes
    task_path: str


@dataclass(slots=True)
class Stored:
    """A checkpoint as it stands in the tables: nothing in it is decoded yet."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    checkpoint: str
    metadata: str
    # channel -> (version, type, blob)
    blobs: dict[str, tuple[str, str, bytes | None]] = field(default_factory=dict)
    # (task id, index) -> the write
    writes: dict[tuple[str, int], StoredWrite] = field(default_factory=dict)
    parent_is_compacted: bool = False


def stored_from_record(record: Any) -> Stored:
    """A row of `read_checkpoint` or `list_checkpoints`."""
    return Stored(
        record["thread_id"],
        record["checkpoint_ns"],
        record["checkpoint_id"],
        record["parent_checkpoint_id"],
        record["checkpoint"],
        record["metadata"],
        {
            channel: (version, type_, blob)
            for channel, version, type_, blob in zip(
                record["blob_channels"] or (),
                record["blob_versions"] or (),
                record["blob_types"] or (),
                record["blobs"] or (),
                strict=True,
            )
        },
        {
            (task_id, idx): StoredWrite(task_id, idx, channel, type_, blob, task_path)
            for task_id, idx, channel, type_, blob, task_path in zip(
                record["write_tasks"] or (),
                record["write_idxs"] or (),
                record["write_channels"] or (),
                record["write_types"] or (),
                record["write_blobs"] or (),
                record["write_paths"] or (),
                strict=True,
            )
        },
        bool(record["parent_is_compacted"]),
    )


def decode(stored: Stored, serde: SerializerProtocol) -> CheckpointTuple:
    """The tuple LangGraph works with."""
    # The standard library's parser, because it keeps integers of any size exact.
    checkpoint = cast("dict[str, Any]", json.loads(stored.checkpoint))
    values = dict(checkpoint.get("channel_values") or {})
    for channel, (_, type_, blob) in stored.blobs.items():
        if type_ != "empty":
            values[channel] = serde.loads_typed((type_, blob or b""))
    checkpoint["channel_values"] = values
    writes = sorted(stored.writes.values(), key=lambda w: (w.task_path, w.task_id, w.idx))
    return CheckpointTuple(
        config_of(stored.thread_id, stored.checkpoint_ns, stored.checkpoint_id),
        cast("Checkpoint", checkpoint),
        cast("CheckpointMetadata", json.loads(stored.metadata)),
        _parent_config(stored),
        [(w.task_id, w.channel, serde.loads_typed((w.type, w.blob))) for w in writes],
    )


def _parent_config(stored: Stored) -> RunnableConfig | None:
    if not stored.parent_checkpoint_id:
        return None
    config = config_of(stored.thread_id, stored.checkpoint_ns, stored.parent_checkpoint_id)
    if stored.parent_is_compacted:
        config.get("configurable", {})[_COMPACTED] = True
    return config


def has_kept_parent(parent_config: RunnableConfig | None) -> bool:
    """Whether a checkpoint's parent can be read. What a compaction left in the place of one carries
    values for those above it, which the library asks for by this config, but no state."""
    return parent_config is not None and _COMPACTED not in parent_config.get("configurable", {})


def reads_sends_from_parent(found: CheckpointTuple) -> bool:
    """Checkpoints before format 4 keep the sends of their step among their parent's writes."""
    return found.checkpoint["v"] < _SENDS_INSIDE_SINCE and found.parent_config is not None


def add_sends(found: CheckpointTuple, sends: Sequence[Any], first_version: str) -> None:
    """Bring a checkpoint of an old format to the form LangGraph reads today."""
    versions = found.checkpoint["channel_versions"]
    found.checkpoint["channel_values"][serde_types.TASKS] = list(sends)
    versions[serde_types.TASKS] = max(versions.values()) if versions else first_version


def config_of(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
    }


def encode_checkpoint(
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    *,
    hides_values: bool = False,
) -> tuple[CheckpointRow, tuple[BlobRow, ...], set[str]]:
    """The rows of a put, and the channels whose value is a blob, now or since earlier: all of them
    with `hides_values`, because what stands in the JSON is not encrypted. Raises
    `Unserialisable`."""
    configurable = config.get("configurable") or {}
    thread_id = str(configurable["thread_id"])
    checkpoint_ns: str = configurable.get("checkpoint_ns", "")
    inline: dict[str, Any] = {}
    blobs: list[BlobRow] = []
    blob_channels: set[str] = set()
    for channel, value in checkpoint["channel_values"].items():
        if is_snapshot(value) or hides_values or not is_inline(value):
            blob_channels.add(channel)
            if channel in new_versions:
                type_, blob = dump(serde, channel, value)
                version = str(new_versions[channel])
                blobs.append(BlobRow(thread_id, checkpoint_ns, channel, version, type_, blob))
            if is_snapshot(value):
                inline[channel] = True
        else:
            inline[channel] = value
    row = CheckpointRow(
        thread_id,
        checkpoint_ns,
        checkpoint["id"],
        configurable.get("checkpoint_id"),
        json_text({**checkpoint, "channel_values": inline}, "the checkpoint"),
        json_text(scrubbed_metadata(config, metadata), "the checkpoint's metadata"),
    )
    return row, tuple(blobs), blob_channels


def is_snapshot(value: Any) -> bool:
    """Whether a channel's value is that of a DeltaChannel, stored whole."""
    return isinstance(value, _DeltaSnapshot)


def encode_writes(
    serde: SerializerProtocol,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    undo_run: str | None,
) -> tuple[WriteRow, ...]:
    """The rows of a put_writes: special channels alone replace what is there, others never do.
    Raises `Unserialisable`."""
    configurable = config.get("configurable") or {}
    overwrites = all(channel in WRITES_IDX_MAP for channel, _ in writes)
    rows: dict[int, WriteRow] = {}
    for position, (channel, value) in enumerate(writes):
        idx = WRITES_IDX_MAP.get(channel, position)
        if idx in rows and not overwrites:
            continue
        rows[idx] = WriteRow(
            str(configurable["thread_id"]),
            configurable.get("checkpoint_ns", ""),
            configurable["checkpoint_id"],
            task_id,
            idx,
            channel,
            *dump(serde, channel, value),
            task_path,
            overwrites,
            undo_run,
        )
    return tuple(rows.values())


def scrubbed_metadata(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    """What is stored beside a checkpoint: LangGraph's choice, without what `configurable` has under
    the name of a credential, and with all of the run's metadata."""
    kept = cast("dict[str, Any]", get_serializable_checkpoint_metadata(config, metadata))
    configurable = config.get("configurable") or {}
    chosen = {
        name: value
        for name, value in kept.items()
        if name in metadata or name not in configurable or not _is_credential(name)
    }
    return _containers(config.get("metadata") or {}) | chosen


def _containers(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's metadata has besides scalars, which alone LangGraph passes on: a history can be
    asked for checkpoints with it. What is no JSON is left out, as there."""
    return {
        name: value
        for name, value in metadata.items()
        if isinstance(value, (dict, list)) and not name.startswith("__") and _is_json(value)
    }


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _is_credential(name: str) -> bool:
    lowered = name.lower()
    return any(word in lowered for word in _CREDENTIAL_WORDS)


def json_text(value: Any, what: str) -> str:
    """JSON that PostgreSQL takes: NUL and halves of surrogate pairs, which jsonb cannot hold,
    become U+FFFD. Raises `Unserialisable`."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        return _json_text_slowly(value, what)
    return _json_text_slowly(value, what) if "\\u0000" in text else text


def _json_text_slowly(value: Any, what: str) -> str:
    # The standard library for integers beyond 64 bits, subclasses of float and keys that are
    # numbers.
    try:
        return json.dumps(storable(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unserialisable(f"{what} is not JSON: {error}") from error


def storable(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii():
            return value.replace("\0", "\ufffd")
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return whole.replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        return {storable(name): storable(item) for name, item in mapping.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in cast("Sequence[Any]", value)]
    return value
