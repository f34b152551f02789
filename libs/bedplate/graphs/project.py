"""A project's own code in services that run no graph of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bedplate.graphs.config import FILE_NAME, WHOLE, Blocks, import_paths_of, reference_of
from bedplate.graphs.loading import NotLoadable, load, put_first
from bedplate.kernel.errors import Refused

T = TypeVar("T")


class Project:
    """`file` is the `langgraph.json`, or None where the blocks come from variables alone."""

    def __init__(self, file: Path | None, blocks: Blocks) -> None:
        self.blocks = blocks
        self._file = (Path.cwd() if file is None else file).absolute()
        if self._file.is_dir():
            self._file /= FILE_NAME
        # An image may bring the whole file as a variable instead.
        self._has_document = file is not None or bool(os.environ.get(WHOLE, "").strip())
        self._paths: tuple[Path, ...] | None = None

    def loaded(self, key: str, text: str, made: Callable[[Any], T]) -> T:
        """What `made` makes of the object that stands under `key`. Changes this process: its
        environment and its import path. Raises `Refused` with the user's traceback."""
        try:
            reference = reference_of(text, key, self._file)
            paths = self._import_paths()
            found = load(reference, folder=self._file.parent, paths=paths)
        except NotLoadable as error:
            told = f"'{key}' cannot be loaded: {error.problem}.\n\n{error.trace}".rstrip()
            raise Refused(told) from error
        try:
            return made(found)
        except Refused as error:
            raise Refused(f"'{key}' is {text!r}: {error.message}") from error

    def _import_paths(self) -> tuple[Path, ...]:
        if self._paths is None:
            folder = self._file.parent
            self._paths = import_paths_of(self._file) if self._has_document else (folder,)
            for name, value in self.blocks.env.items():
                os.environ.setdefault(name, value)
            put_first(self._paths)
        return self._paths
