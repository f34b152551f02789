"""The newest JavaScript clients against the whole product: `tests/node`, run by node's test runner.

Each `test("…")` there is one test here. The packages are installed once, from the lock file, into
`tests/node/node_modules`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bedplate.devstack.stack import Stack

HERE = Path(__file__).parents[1] / "node"
NODE_MIN = 20
INSTALL_S = 300
# One file of tests; each test in it has limits of its own.
FILE_S = 240
NAMED = re.compile(r'^test\("(.+?)"', re.MULTILINE)
TESTS = [
    pytest.param(path, name, id=f"{path.name.removesuffix('.test.js')}: {name}")
    for path in sorted(HERE.glob("*.test.js"))
    for name in NAMED.findall(path.read_text(encoding="utf-8"))
]


@dataclass(frozen=True)
class Result:
    """What node's runner said of a test: why it failed, if it did."""

    failure: str | None
    is_skipped: bool


Results = Callable[[Path], dict[str, Result]]


def _missing() -> str | None:
    """Why these tests cannot run on this machine."""
    node = shutil.which("node")
    if node is None:
        return f"the JavaScript clients are not tested: node (>= {NODE_MIN}) was not found"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20).stdout
    version = re.match(r"v(\d+)", told)
    if version is None or int(version[1]) < NODE_MIN:
        return f"the JavaScript clients are not tested: node is {told.strip()}, not >= {NODE_MIN}"
    if shutil.which("npm") is None:
        return "the JavaScript clients are not tested: npm was not found"
    return None


# Of the session, as the stacks are: asked first, so that none is started for nothing.
@pytest.fixture(scope="session")
def packages() -> None:
    """What the lock file names is installed; nothing is asked of a registry if it was before."""
    if (reason := _missing()) is not None:
        pytest.skip(reason)
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts"],
        cwd=HERE, capture_output=True, text=True, timeout=INSTALL_S,
    )  # fmt: skip
    assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
    # Newer than the lock file from now on, whatever the clock of a fresh checkout did.
    os.utime(installed)


@pytest.fixture(scope="module")
def addresses(packages: None, stack: Stack, desk: Stack) -> Iterator[dict[str, str]]:
    """Two gateways of `tests/graphs`, and the support desk."""
    stack.start_service("gateway", replica=3)
    try:
        yield {
            "BEDPLATE_URL": stack.url,
            "BEDPLATE_SECOND_URL": stack.url_of("gateway", replica=3),
            "BEDPLATE_DESK_URL": desk.url,
        }
    finally:
        stack.stop_service("gateway", replica=3)


@pytest.fixture(scope="module")
def results(addresses: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results of a file, which runs once."""
    known: dict[Path, dict[str, Result]] = {}
    folder = tmp_path_factory.mktemp("node")

    def of(path: Path) -> dict[str, Result]:
        if path not in known:
            known[path] = _run(path, folder / f"{path.name}.xml", env={**os.environ, **addresses})
        return known[path]

    return of


def _run(path: Path, report: Path, *, env: dict[str, str]) -> dict[str, Result]:
    told = subprocess.run(
        [
            "node", "--test",
            "--test-reporter=spec", "--test-reporter-destination=stdout",
            "--test-reporter=junit", f"--test-reporter-destination={report}",
            str(path),
        ],
        cwd=HERE, env=env, capture_output=True, text=True, timeout=FILE_S,
    )  # fmt: skip
    print(told.stdout, told.stderr)
    return {
        case.attrib["name"]: Result(
            failure=None if (failure := case.find("failure")) is None else failure.text or "failed",
            is_skipped=case.find("skipped") is not None,
        )
        for case in ElementTree.parse(report).iter("testcase")
    }


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_with_the_javascript_clients(results: Results, path: Path, name: str) -> None:
    found = results(path)
    assert name in found, f"{path.name} ended before it: {sorted(found)}"
    assert not found[name].is_skipped, "node skipped it"
    assert found[name].failure is None, found[name].failure
