"""Development: when the project's files change, the graphs are loaded anew."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import cache_from_source
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
        for _, path in changes:
            _forget_bytecode(path)
        changed()


def _forget_bytecode(path: str) -> None:
    """Python tells a changed source from its cached bytecode by the second and the size only: an
    edit within a second that leaves the size would go unseen."""
    if path.endswith(".py"):
        Path(cache_from_source(path)).unlink(missing_ok=True)
