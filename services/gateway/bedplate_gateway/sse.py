"""Server-sent events: frames made of names and JSON texts, and which of them a reader wants.

Source: contract streaming.md 1.1–1.6;
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bedplate.bus.event_line import Event
from bedplate_proto.vocabulary import EventName, StreamMode

HEARTBEAT = b": heartbeat\r\n\r\n"

Wanted = Callable[[str], bool]
# What a reader gets whatever modes it asked for.
_ALWAYS = frozenset({EventName.METADATA, EventName.ERROR, "feedback"})

_NONE = frozenset({EventName.END, EventName.PROTOCOL})


def frame_of(event: Event, *, has_id: bool) -> bytes:
    name = event.name.encode()
    if b"\n" in name or b"\r" in name:
        # A node's name may hold anything; a line break in it would end the field.
        name = name.replace(b"\r", b" ").replace(b"\n", b" ")
    if has_id:
        return b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (name, event.data, event.id.encode())
    return b"event: %b\r\ndata: %b\r\n\r\n" % (name, event.data)


def frames_of(events: Sequence[Event], *, has_ids: bool, wanted: Wanted | None) -> bytes:
    """All frames for one write to the socket; the end event is none, nor are the lines of the
    event-streaming protocol, which has streams of its own."""
    return b"".join(
        frame_of(event, has_id=has_ids)
        for event in events
        if event.name not in _NONE and (wanted is None or wanted(event.name))
    )


def only(modes: Sequence[StreamMode]) -> Wanted:
    """Whether an event belongs to one of these modes; those of subgraphs follow their root's."""
    names = {"messages" if mode is StreamMode.MESSAGES_TUPLE else mode.value for mode in modes}
    names.discard(StreamMode.MESSAGES.value)
    if StreamMode.MESSAGES_TUPLE in modes:
        names.add("messages")
    accumulating = StreamMode.MESSAGES in modes

    def wanted(name: str) -> bool:
        kind = name.partition("|")[0]
        if kind.startswith("messages/"):
            return accumulating
        return kind in names or kind in _ALWAYS

    return wanted
