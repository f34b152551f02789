"""An event's line holds any name and any JSON, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.bus.event_line import Event, event_of, line_of, position_of

# Half surrogates are no text; a name that holds one cannot be sent.
names = st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.sampled_from(
    ['","data":', '"', "\\", '\\","data":{}', '","attempt":1,"event":"', "updates|a:1|b:2"]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(
    n=st.integers(0, 2**60),
    attempt=st.integers(0, 2**31),
    name=names,
    value=values,
    at=st.integers(0),
)
def test_any_event_comes_back_as_it_was(
    n: int, attempt: int, name: str, value: Any, at: int
) -> None:
    data = json.dumps(value, ensure_ascii=False).encode()
    line = line_of(n, attempt, name, data)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert event_of(line[:-1], at) == Event(n, attempt, name, data, at)
    assert json.loads(line) == {"n": n, "attempt": attempt, "event": name, "data": value}


@given(st.binary() | st.from_regex(rb'\{"n":.*,"attempt":.*,"event":".*","data":.*'))
def test_what_is_no_event_is_refused_with_a_value_error(line: bytes) -> None:
    try:
        event = event_of(line, 0)
    except ValueError:
        return
    assert isinstance(event.name, str)


@given(names, st.binary(min_size=1, max_size=40), st.data())
def test_the_beginning_of_a_line_is_no_event(name: str, text: bytes, data: st.DataObject) -> None:
    # Hexadecimal, because a cut that ends in a brace of the data cannot be told from an end.
    whole = line_of(7, 1, name, orjson.dumps(text.hex()))[:-1]
    cut = data.draw(st.integers(0, len(whole) - 1))
    if whole[:cut].endswith(b"}"):
        return
    with pytest.raises(ValueError):
        event_of(whole[:cut], 0)


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_an_id_says_where_to_read_on(n: int, sequence: int) -> None:
    assert position_of(Event(n, 1, "values", b"{}", sequence).id) == (n, sequence)


@pytest.mark.parametrize(
    "text", ["", "-", "-3", "a", "1-b", "1-2-3", "１-2", "1-２", "1-²", "+1-2", "1.5", "9" * 5000]
)
def test_an_id_that_is_not_ours_is_no_position(text: str) -> None:
    assert position_of(text) is None


def test_a_bare_number_is_a_position_without_a_hint() -> None:
    assert position_of("12") == position_of("12-") == (12, 0)
