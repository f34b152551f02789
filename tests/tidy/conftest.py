"""The source text that the tidy tests judge, read once."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {"__pycache__", "node_modules", "dist", "build"}
TEXT = {".py", ".sql", ".md", ".toml", ".json", ".yml", ".yaml", ".txt", ".cfg", ".sh", ""}


@dataclass(frozen=True)
class Source:
    path: str
    """From the root, with slashes."""
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        return self.name.rsplit(".", 1)[0]

    def is_in(self, *folders: str) -> bool:
        return self.path.startswith(tuple(f"{folder}/" for folder in folders))


def _sources() -> list[Source]:
    found: list[Source] = []
    for folder, folders, names in os.walk(ROOT):
        # Folders with a dot are the tools' own, except what the project itself says to its CI.
        folders[:] = [
            name
            for name in folders
            if name not in NOT_OURS
            and not name.endswith(".egg-info")
            and (name == ".ci" or not name.startswith("."))
        ]
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix in TEXT and name != ".git":
                text = path.read_bytes().decode("utf-8", errors="replace")
                found.append(Source(path.relative_to(ROOT).as_posix(), text))
    return sorted(found, key=lambda source: source.path)


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Every text file of the project."""
    return _sources()


@pytest.fixture(scope="session")
def modules(sources: list[Source]) -> list[Source]:
    """Every Python file of the project."""
    return [source for source in sources if source.name.endswith(".py")]


@pytest.fixture(scope="session")
def source_of() -> type[Source]:
    """`source_of(path, text)`: a file that does not exist, to show that a check bites."""
    return Source


@pytest.fixture(scope="session")
def hold() -> Callable[[Sequence[str]], None]:
    """Fails with all problems, each `file:line: what is wrong: what to do`."""

    def holds(problems: Sequence[str]) -> None:
        if problems:
            pytest.fail(f"{len(problems)} to mend:\n" + "\n".join(problems), pytrace=False)

    return holds
