"""Frames and which of them a reader wants."""

from __future__ import annotations

import pytest

from bedplate.bus.event_line import Event
from bedplate_gateway.sse import frame_of, frames_of, only
from bedplate_proto.vocabulary import StreamMode


def _event(name: str, data: bytes = b"{}", n: int = 1) -> Event:
    return Event(n=n, attempt=1, name=name, data=data, sequence=7)


def test_a_frame_has_crlf_and_an_id_only_when_told() -> None:
    assert frame_of(_event("values"), has_id=False) == b"event: values\r\ndata: {}\r\n\r\n"
    assert frame_of(_event("values"), has_id=True).endswith(b"\r\nid: 1-7\r\n\r\n")


def test_a_line_break_in_a_name_cannot_begin_a_field() -> None:
    frame = frame_of(_event("updates|a\r\ndata: x\n:1"), has_id=False)
    assert frame == b"event: updates|a  data: x :1\r\ndata: {}\r\n\r\n"


def test_the_end_event_is_no_frame() -> None:
    events = [_event("values"), _event("end", n=2)]
    assert frames_of(events, has_ids=False, wanted=None) == frame_of(events[0], has_id=False)


@pytest.mark.parametrize(
    ("modes", "name", "is_wanted"),
    [
        (["values"], "values", True),
        (["values"], "values|child:1", True),
        (["values"], "updates", False),
        (["values"], "metadata", True),
        (["values"], "error", True),
        (["messages-tuple"], "messages", True),
        (["messages-tuple"], "messages|child:1", True),
        (["messages-tuple"], "messages/partial", False),
        (["messages"], "messages/partial", True),
        (["messages"], "messages/metadata|child:1", True),
        (["messages"], "messages", False),
        (["messages", "messages-tuple"], "messages", True),
        (["debug", "custom"], "custom", True),
    ],
)
def test_a_mode_wants_its_own_events(modes: list[str], name: str, is_wanted: bool) -> None:
    assert only([StreamMode(mode) for mode in modes])(name) is is_wanted
