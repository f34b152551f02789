"""The error tree: a public message by default, ids as attributes, told apart by what to do."""

from __future__ import annotations

import inspect

import pytest

from bedplate.kernel import errors
from bedplate.kernel.errors import BedplateError, Refused, TooLarge, Unavailable

TREE = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, BedplateError)
]


@pytest.mark.parametrize("kind", TREE)
def test_the_first_line_of_the_docstring_is_the_public_message(kind: type[BedplateError]) -> None:
    error = kind(run_id="r")
    assert error.message == str(error) == (kind.__doc__ or "").strip().splitlines()[0]
    assert error.message.endswith((".", "again."))
    assert error.ids == {"run_id": "r"}


@pytest.mark.parametrize("kind", TREE)
def test_a_message_of_ones_own_replaces_it(kind: type[BedplateError]) -> None:
    assert kind("look here").message == "look here"


def test_too_large_is_one_way_of_being_refused() -> None:
    assert issubclass(TooLarge, Refused)


def test_unavailable_says_when_to_try_again() -> None:
    assert Unavailable().retry_s == 1.0
    assert Unavailable("later", retry_s=9.0, server="x").retry_s == 9.0
