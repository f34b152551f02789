"""Development: when the project's files change, the graphs are loaded anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog
from watchfiles import awatch

from bedplate.graphs.project_files import DEBOUNCE_MS, STEP_MS, ProjectFiles, forget_bytecode

log = structlog.get_logger()


async def watch_project(folder: Path, changed: Callable[[], None]) -> None:
    """Call `changed` after each burst of changes below `folder`; for ever."""
    watched = awatch(folder, watch_filter=ProjectFiles(), debounce=DEBOUNCE_MS, step=STEP_MS)
    async for changes in watched:
        names = sorted({Path(path).name for _, path in changes})
        log.info("project.changed", files=names[:5], count=len(names))
        for _, path in changes:
            forget_bytecode(path)
        changed()
