"""A module is one sitting, a function one screen, and a name says what is in it."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

MODULE_LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
FORBIDDEN = {
    *("utils", "util", "common", "base", "helper", "helpers", "manager"),
    *("service", "data", "info", "misc"),
}
_UNFINISHED = re.compile(r"#.*\b(TODO|FIXME|XXX)\b")


def _sizes(source: Any) -> list[str]:
    problems: list[str] = []
    is_test = source.is_in("tests")
    lines = source.text.count("\n")
    limit = TEST_LINES_MAX if is_test else MODULE_LINES_MAX
    if lines > limit:
        problems.append(
            f"{source.path}:{limit + 1}: {lines} lines, at most {limit}: find the second noun in it"
        )
    if is_test:
        return problems
    for node in source.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                problems.append(
                    f"{source.path}:{node.lineno}: {node.name} has {length} lines,"
                    f" at most {FUNCTION_LINES_MAX}: move what it computes into leaves"
                )
    return problems


def _names(source: Any) -> list[str]:
    problems: list[str] = []
    if source.stem in FORBIDDEN:
        problems.append(f"{source.path}:1: {source.stem} says nothing: name the noun or the agent")
    # pytest imports tests by path; a package there would give two files of one name one module.
    if source.is_in("tests") and not source.is_in("tests/graphs") and source.name == "__init__.py":
        problems.append(f"{source.path}:1: tests are no packages: delete it")
    return problems


def _unfinished(source: Any) -> list[str]:
    return [
        f"{source.path}:{number}: finish it, or open an issue and name it here"
        for number, line in enumerate(source.text.splitlines(), 1)
        if _UNFINISHED.search(line) and not source.path.endswith("tidy/test_shape.py")
    ]


@pytest.mark.parametrize("check", [_sizes, _names, _unfinished])
def test_modules_keep_their_shape(modules: list[Any], hold: Any, check: Any) -> None:
    hold([problem for source in modules for problem in check(source)])


def test_what_is_too_long_is_found(source_of: Any) -> None:
    long_function = "def f():\n" + "    pass\n" * 60
    assert _sizes(source_of("libs/bedplate/x.py", long_function))
    assert not _sizes(source_of("tests/unit/test_x.py", long_function))
    assert not _sizes(source_of("libs/bedplate/x.py", "def f():\n" + "    pass\n" * 59))
    assert _sizes(source_of("libs/bedplate/x.py", "x = 1\n" * 401))
    assert _sizes(source_of("tests/unit/test_x.py", "x = 1\n" * 601))


def test_what_says_nothing_or_is_unfinished_is_found(source_of: Any) -> None:
    assert _names(source_of("libs/bedplate/utils.py", ""))
    assert _names(source_of("tests/unit/__init__.py", ""))
    assert not _names(source_of("libs/bedplate/data_directory.py", ""))
    assert _unfinished(source_of("libs/bedplate/x.py", "x = 1  # TODO later"))
