"""Every service is read the same way, top to bottom."""

from __future__ import annotations

from typing import Any

import pytest

# File in the package -> most lines.
PLUMBING = {"__main__.py": 12, "app.py": 120, "settings.py": 120, "routes.py": 80}
README_LINES_MAX = 60


def _problems(sources: list[Any]) -> list[str]:
    by_path = {source.path: source for source in sources}
    folders = sorted({source.path.split("/")[1] for source in sources if source.is_in("services")})
    problems: list[str] = []
    for folder in folders:
        package = f"services/{folder}/bedplate_{folder.replace('-', '_')}"
        wanted = {f"services/{folder}/README.md": README_LINES_MAX}
        wanted |= {f"{package}/{name}": limit for name, limit in PLUMBING.items()}
        for path, limit in wanted.items():
            if path not in by_path:
                problems.append(f"{path}:1: missing: every service has it")
            elif (lines := by_path[path].text.count("\n")) > limit:
                problems.append(f"{path}:{limit + 1}: {lines} lines, at most {limit}")
    return problems


def test_every_service_has_the_same_plumbing(sources: list[Any], hold: Any) -> None:
    hold(_problems(sources))


@pytest.mark.parametrize("lines", [0, 61])
def test_a_missing_or_long_page_is_found(source_of: Any, lines: int) -> None:
    package = "services/run-depot/bedplate_run_depot"
    files = [source_of(f"{package}/{name}", "x\n") for name in PLUMBING]
    if lines:
        files.append(source_of("services/run-depot/README.md", "x\n" * lines))
    (problem,) = _problems(files)
    assert problem.startswith("services/run-depot/README.md:")
