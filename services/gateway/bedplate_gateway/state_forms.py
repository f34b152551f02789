"""What clients send to change what is said about a state."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from .forms import Form, Object

# The server's own, and what makes a checkpoint a step of its graph.
_SERVER_METADATA = frozenset(
    {"thread_id", "assistant_id", "run_id", "cron_id", "counters_since_delta_snapshot"}
)
_STEP_METADATA = frozenset({"source", "step", "parents", "compacted"})


def _patchable(metadata: Object) -> Object:
    if wrong := sorted(metadata.keys() & _STEP_METADATA):
        raise ValueError(f"{wrong[0]} says what the checkpoint is and cannot be changed")
    return {key: value for key, value in metadata.items() if key not in _SERVER_METADATA}


class StatePatch(Form):
    metadata: Annotated[Object, AfterValidator(_patchable)]
