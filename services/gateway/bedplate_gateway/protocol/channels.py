"""Which events a subscriber wants: channels, namespaces, depth, position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import from_json

from ..forms import Form
from .envelopes import Envelope

CHANNELS = (
    "values", "updates", "checkpoints", "messages", "tools", "lifecycle", "input", "tasks",
    "custom",
)  # fmt: skip
_NAMED = "custom:"
_CHANNELS_MAX = 100
_NAMESPACES_MAX = 100
_PARTS_MAX = 100
_KEPT_MAX = 1000


def _known(channel: str) -> str:
    if channel not in CHANNELS and not (channel.startswith(_NAMED) and channel != _NAMED):
        raise ValueError(f"must be one of {', '.join(CHANNELS)} or custom:<name>")
    return channel


Channel = Annotated[str, AfterValidator(_known)]
Namespace = Annotated[list[str], Field(max_length=_PARTS_MAX)]
Seq = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]


class Subscription(Form):
    """`namespaces`: prefixes, none means all. `depth`: levels below the prefix, 0 for exactly
    there. `since`: only events with a greater `seq`."""

    channels: Annotated[list[Channel], Field(min_length=1, max_length=_CHANNELS_MAX)]
    namespaces: Annotated[list[Namespace], Field(max_length=_NAMESPACES_MAX)] | None = None
    depth: Annotated[int, Field(strict=True, ge=0)] | None = None
    since: Seq | None = None


class View:
    """A subscription as a question to each event; answers are kept per method and namespace."""

    def __init__(self, subscription: Subscription) -> None:
        self._channels = frozenset(subscription.channels)
        self._prefixes = subscription.namespaces or [[]]
        self._depth = subscription.depth
        self._kept: dict[tuple[bytes, bytes], bool] = {}

    def shows(self, envelope: Envelope) -> bool:
        key = envelope.method, envelope.namespace
        shown = self._kept.get(key)
        if shown is None:
            # User code names nodes, tasks have new ids in each run: not for ever.
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            shown = self._kept[key] = self._has_channel(envelope) and self._is_within(
                from_json(envelope.namespace)
            )
        return shown and (envelope.method != b"custom" or self._has_name(envelope))

    def _has_channel(self, envelope: Envelope) -> bool:
        match envelope.method:
            case b"input.requested":
                return "input" in self._channels
            case b"custom":
                return any(channel.startswith("custom") for channel in self._channels)
            case method:
                return method.decode() in self._channels

    def _has_name(self, envelope: Envelope) -> bool:
        """`custom` takes all; `custom:<name>` those of that name."""
        if "custom" in self._channels:
            return True
        event: Any = from_json(envelope.text)
        data = event["params"]["data"]
        name = data.get("name") if isinstance(data, dict) else None
        return f"{_NAMED}{name}" in self._channels

    def _is_within(self, namespace: Sequence[str]) -> bool:
        return any(
            _begins(namespace, prefix)
            and (self._depth is None or len(namespace) - len(prefix) <= self._depth)
            for prefix in self._prefixes
        )


def _begins(namespace: Sequence[str], prefix: Sequence[str]) -> bool:
    """A part of the prefix without `:` stands for all tasks of that node."""
    return len(prefix) <= len(namespace) and all(
        wanted == part or (":" not in wanted and part.partition(":")[0] == wanted)
        for wanted, part in zip(prefix, namespace, strict=False)
    )
