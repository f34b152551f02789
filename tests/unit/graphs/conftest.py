from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes a project's files and undoes what loading it changed in this process."""
    path, modules, environment = list(sys.path), set(sys.modules), dict(os.environ)

    def write(config: dict[str, Any] | str, **files: str) -> Path:
        for name, text in files.items():
            file = tmp_path / name.replace("__in__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        text = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "langgraph.json").write_text(text)
        return tmp_path

    yield write
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environment)
    added = {name: sys.modules[name] for name in set(sys.modules) - modules}
    places = {
        name: [getattr(module, "__file__", None) or "", *getattr(module, "__path__", [])]
        for name, module in added.items()
    }
    for name, places_of_module in places.items():
        if any(str(place).startswith(str(tmp_path)) for place in places_of_module):
            del sys.modules[name]
