"""Development: which services start anew when the project's files change.

The executor is not among them: it loads the graphs anew beside the runs that it has in hand.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from watchfiles import watch

from bedplate.graphs.config import Blocks, given_blocks
from bedplate.graphs.project_files import DEBOUNCE_MS, STEP_MS, ProjectFiles, forget_bytecode
from bedplate.kernel.errors import Refused

_STOP_S = 5.0


class Reloading:
    """Watches the folder of `project`, a langgraph.json, while it is entered (once). The services
    have seen the file as it was when this was made."""

    def __init__(self, project: Path, environ: Mapping[str, str]) -> None:
        self._project = project
        self._environ = environ
        self._blocks = self._given()
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="reloading", daemon=True)

    def __enter__(self) -> Self:
        if self._given() != self._blocks:
            self._changed.set()
        self._watching.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._watching.join(_STOP_S)

    def due(self) -> list[str]:
        """The services that have not seen the files as they are now; each is named once."""
        if not self._changed.is_set():
            return []
        self._changed.clear()
        blocks = self._given()
        if blocks is None:
            # The executor tells what is wrong with the file.
            return []
        before, self._blocks = self._blocks, blocks
        if before != blocks:
            return ["run-scheduler", "webhook-dispatcher", "gateway"]
        if _names_code(blocks.encryption, "path"):
            return ["webhook-dispatcher", "gateway"]
        has_code = _names_code(blocks.auth, "path") or _names_code(blocks.http, "app")
        return ["gateway"] if has_code else []

    def _given(self) -> Blocks | None:
        try:
            return given_blocks(self._project, self._environ)
        except Refused:
            return None

    def _watch(self) -> None:
        for changes in watch(
            self._project.parent,
            watch_filter=ProjectFiles(),
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=self._ended,
        ):
            for _, path in changes:
                forget_bytecode(path)
            self._changed.set()


def _names_code(block: Any, key: str) -> bool:
    """Of the project, which the service has imported."""
    return isinstance(block, dict) and bool(cast("dict[str, Any]", block).get(key))
