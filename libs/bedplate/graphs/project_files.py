"""What counts as a change of a project's files, for whoever loads it anew in development."""

from __future__ import annotations

from importlib.util import cache_from_source
from pathlib import Path

from watchfiles import Change, DefaultFilter

# Milliseconds: an editor writes several files in a burst; between two looks.
DEBOUNCE_MS, STEP_MS = 300, 50

_SUFFIXES = (".py", ".json", ".toml", ".md", ".env", ".txt", ".yaml", ".yml")


class ProjectFiles(DefaultFilter):
    """What a project is made of; not what runs write into its folder."""

    ignore_dirs = (*DefaultFilter.ignore_dirs, ".bedplate", "logs")

    def __call__(self, change: Change, path: str) -> bool:
        is_source = path.endswith(_SUFFIXES) or Path(path).name.startswith(".env")
        return is_source and super().__call__(change, path)


def forget_bytecode(path: str) -> None:
    """Python tells a changed source from its cached bytecode by the second and the size only: an
    edit within a second that leaves the size would go unseen."""
    if path.endswith(".py"):
        Path(cache_from_source(path)).unlink(missing_ok=True)
