"""What a DeltaChannel is rebuilt from: the nearest stored value above a checkpoint, and the writes
since. Answers as the stock saver does, in one round trip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol


def histories(
    records: Sequence[Any], channels: Sequence[str], serde: SerializerProtocol
) -> dict[str, DeltaChannelHistory]:
    """`records` of `read_delta_history` by channel, oldest write first."""
    found: dict[str, DeltaChannelHistory] = {channel: {"writes": []} for channel in channels}
    writes: list[Any] = []
    for record in records:
        if record["task_id"] is not None:
            writes.append(record)
        elif record["type"] is not None:
            # A blob before what stands inline: for a snapshot that is only a mark.
            found[record["channel"]]["seed"] = serde.loads_typed((record["type"], record["blob"]))
        else:
            found[record["channel"]]["seed"] = json.loads(record["inline"])
    # Farther ancestors are older; within one, the order in which live execution applies the writes.
    writes.sort(key=lambda w: (-w["depth"], w["task_path"], w["task_id"], w["idx"]))
    for write in writes:
        value = serde.loads_typed((write["type"], write["blob"]))
        found[write["channel"]]["writes"].append((write["task_id"], write["channel"], value))
    return found
