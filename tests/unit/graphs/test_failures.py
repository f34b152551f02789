from __future__ import annotations

import asyncio

import pytest
from langgraph.errors import EmptyInputError, GraphRecursionError, InvalidUpdateError

from bedplate.graphs.failures import shown_error
from bedplate.kernel.errors import Refused


class HTTPException(Exception):  # as Starlette and the SDK name theirs
    pass


class Teapot(HTTPException):
    pass


class Secretive(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom: value"),
        TypeError("a"),
        AttributeError("a"),
        RuntimeError("a"),
        RecursionError("a"),
        GraphRecursionError("a"),
        TimeoutError("a"),
        InvalidUpdateError("a"),
        EmptyInputError("a"),
        Teapot("a"),
        asyncio.CancelledError("a"),
        Refused("a"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_text_of_a_known_family_is_shown(error: BaseException) -> None:
    assert shown_error(error) == {"error": type(error).__name__, "message": str(error)}


def test_any_other_failure_shows_only_its_class() -> None:
    assert shown_error(Secretive("password=hunter2")) == {
        "error": "Secretive",
        "message": "An internal error occurred",
    }
    assert shown_error(OSError("x"))["message"] == "An internal error occurred"


def test_a_text_is_bounded_and_never_fails() -> None:
    class Sulks(ValueError):
        def __str__(self) -> str:
            raise RuntimeError

    assert shown_error(Sulks())["message"] == "An internal error occurred"
    assert len(shown_error(ValueError("x" * 10**6))["message"]) == 20_001
