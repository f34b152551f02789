"""Projects are loaded as an executor loads them: by path, with the project's folder importable."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]

Load = Callable[[Path], ModuleType]


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """Import a project's module; after the tests of this module the whole project is forgotten."""
    path, before = list(sys.path), set(sys.modules)

    def load_module(file: Path) -> ModuleType:
        if str(file.parent) not in sys.path:
            sys.path.insert(0, str(file.parent))
        name = f"project_{file.parent.name.replace('-', '_')}_{file.stem}"
        within = [str(file.parent)] if file.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=within)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Graphs resolve their annotations, and msgpack its types, through the module's name.
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    yield load_module
    sys.path[:] = path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(ROOT) and ".venv" not in Path(file).parts:
            del sys.modules[name]
