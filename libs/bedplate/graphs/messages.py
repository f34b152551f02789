"""Chat messages of a run as the two message modes show them: as pieces, and as the whole so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message

from bedplate.graphs.wire import WireEvent, dumps, raw

# Messages in the making at one time: models that run in parallel in one run. Beyond it the oldest
# is encoded (or, in the accumulating mode, begun) anew; nothing is lost but time.
_OPEN_MAX = 64


class MessageEvents:
    """The message events of one run. Keeps what was sent, so that no message is sent twice.

    A message is streamed while its model runs and seen again when a node returns it, in its own
    graph and in each graph above: whatever has an id that was seen is left out, unless it is the
    next piece of it.
    """

    def __init__(self, *, pieces: bool, accumulated: bool) -> None:
        self._pieces = pieces
        self._accumulated = accumulated
        self._seen: set[str] = set()
        self._begun: dict[str, BaseMessageChunk] = {}
        self._metadata: dict[int, tuple[Mapping[str, Any], Any]] = {}

    def events(
        self, message: BaseMessage, *, metadata: Mapping[str, Any], suffix: str
    ) -> Iterator[WireEvent]:
        """The events for one item of the library's `messages` mode. `suffix` is the namespace's."""
        is_piece = isinstance(message, BaseMessageChunk)
        message_id = message.id or ""
        is_first = message_id not in self._seen
        if not is_first and not is_piece:
            return
        self._seen.add(message_id)
        if self._pieces:
            yield WireEvent(f"messages{suffix}", dumps((message, self._encoded(metadata))))
        if not self._accumulated:
            return
        if is_first:
            about = {message_id: {"metadata": self._encoded(metadata)}}
            yield WireEvent(f"messages/metadata{suffix}", dumps(about))
        if is_piece:
            whole = self._whole(message_id, message)
            yield WireEvent(f"messages/partial{suffix}", dumps([whole]))
        else:
            yield WireEvent(f"messages/complete{suffix}", dumps([message]))

    def _whole(self, message_id: str, piece: BaseMessageChunk) -> BaseMessage:
        before = self._begun.pop(message_id, None)
        whole = piece if before is None else before + piece
        _bound(self._begun)
        self._begun[message_id] = whole
        return message_chunk_to_message(whole)

    def _encoded(self, metadata: Mapping[str, Any]) -> Any:
        """`metadata` as JSON, encoded once: every piece of a message comes with the very same
        object.
        """
        known = self._metadata.get(id(metadata))
        # The object is kept beside its encoding, or its id could be another object's by now.
        if known is not None and known[0] is metadata:
            return known[1]
        encoded = raw(dumps(metadata))
        _bound(self._metadata)
        self._metadata[id(metadata)] = (metadata, encoded)
        return encoded


def _bound(kept: dict[Any, Any]) -> None:
    if len(kept) >= _OPEN_MAX:
        del kept[next(iter(kept))]
