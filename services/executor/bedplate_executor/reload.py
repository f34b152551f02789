"""Development: when the project's files change, the graphs are loaded anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog
from watchfiles import Change, DefaultFilter, awatch

log = structlog.get_logger()

_SUFFIXES = (".py", ".json", ".toml", ".md", ".env", ".txt", ".yaml", ".yml")


class _ProjectFiles(DefaultFilter):
    """What a project is made of; not what runs write into its folder."""

    ignore_dirs = (*DefaultFilter.ignore_dirs, ".bedplate", "logs")

    def __call__(self, change: Change, path: str) -> bool:
        is_source = path.endswith(_SUFFIXES) or Path(path).name.startswith(".env")
        return is_source and super().__call__(change, path)


async def watch_project(folder: Path, changed: Callable[[], None]) -> None:
    """Call `changed` after each burst of changes below `folder`; for ever."""
    async for changes in awatch(folder, watch_filter=_ProjectFiles(), debounce=300, step=50):
        names = sorted({Path(path).name for _, path in changes})
        log.info("project.changed", files=names[:5], count=len(names))
        changed()
