"""What a reference of a `langgraph.json` names, imported from the user's project.

Importing runs the user's code. The project comes first on the import path: its own `services`,
`libs` or `proto` are found as they are when the project runs without us.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any

from bedplate.graphs.config import Reference
from bedplate.kernel.errors import Refused


class NotLoadable(Refused):
    """A reference leads nowhere. `trace` is the traceback of the user's code, or empty."""

    def __init__(self, problem: str, *, trace: str = "") -> None:
        super().__init__(f"{problem}.")
        self.problem = problem
        self.trace = trace

    @staticmethod
    def problem_of(error: BaseException, reference: Reference) -> str:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return f"importing {reference.text!r} failed with {text.rstrip('.')}"


def put_first(paths: Sequence[Path]) -> None:
    """Let this process import a project's own packages before any other of the same name."""
    wanted = [str(path) for path in paths]
    sys.path[:] = [*wanted, *(entry for entry in sys.path if entry not in wanted)]
    importlib.invalidate_caches()


def load(reference: Reference, *, folder: Path, paths: Sequence[Path]) -> Any:
    """The object that `reference` names. `folder` is the project's, `paths` what `put_first` has
    been told. Raises `NotLoadable`."""
    try:
        module = _module(reference, folder, paths)
    except (Exception, SystemExit) as error:
        problem = NotLoadable.problem_of(error, reference)
        raise NotLoadable(problem, trace=users_trace(error)) from error
    try:
        return getattr(module, reference.name)
    except AttributeError:
        problem = f"{reference.text!r} has no attribute {reference.name!r}"
        raise NotLoadable(problem) from None


def _module(reference: Reference, folder: Path, paths: Sequence[Path]) -> ModuleType:
    if reference.file is None:
        return importlib.import_module(reference.module or "")
    for dotted in _dotted_names(reference.file, paths):
        if _origin(dotted) == reference.file:
            return importlib.import_module(dotted)
    return _module_of_its_own(reference.file, folder)


def _dotted_names(file: Path, roots: Sequence[Path]) -> list[str]:
    """The names under which the project's own code would import `file`, the shortest first.

    Used where they lead to that very file: a second copy of a module under another name has other
    classes, and relative imports work only in a package.
    """
    names = []
    for root in roots:
        if file.is_relative_to(root.resolve()):
            parts = file.relative_to(root.resolve()).with_suffix("").parts
            if all(part.isidentifier() for part in parts):
                names.append(".".join(parts))
    return sorted(names, key=len)


def _origin(dotted: str) -> Path | None:
    """The file `import dotted` leads to. Imports the parent packages, as that import would."""
    first = dotted.partition(".")[0]
    if first in sys.builtin_module_names or first in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(dotted)
    except ModuleNotFoundError as error:
        # A parent that is no package: not the way to this file. Anything missing further in is the
        # user's.
        if error.name is not None and dotted.startswith(error.name):
            return None
        raise
    except ValueError:
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve()


def _module_of_its_own(file: Path, folder: Path) -> ModuleType:
    """Import `file` under a name that depends only on its place in the project.

    The name is written into checkpoints with the user's classes, so it must be the same in every
    process; and two files of the same name in two folders must not be one module.
    """
    place = os.path.relpath(file, folder)
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    name = f"{re.sub(r'[^0-9a-zA-Z_]', '_', file.stem)}__{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python source file", path=str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def users_trace(error: BaseException) -> str:
    """The traceback from the user's first line on: our frames and the import machinery's say
    nothing to them.
    """
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _is_plumbing(trace.tb_frame):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_plumbing(frame: FrameType) -> bool:
    top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    is_ours = top == "bedplate" or top.startswith("bedplate_")
    return (
        is_ours
        or top in ("importlib", "contextlib")
        or frame.f_code.co_filename.startswith("<frozen ")
    )
