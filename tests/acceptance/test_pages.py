"""What README and docs tell a reader to type works: every fenced block, on a stack that is there.

`make` tasks and servers are not started a second time for it: make says what it would do, and a
server's options are checked. Blocks of `text` are drawings.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import pytest

from bedplate.devstack.stack import Stack
from bedplate.graphs.config import load_config
from bedplate.graphs.persistence import given_persistence
from bedplate.graphs.project_keys import TOP_LEVEL
from bedplate.webhooks.block import given_block

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
URL = "http://127.0.0.1:2024"
LIMIT_S = 100

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SERVER = re.compile(r"^(?:.*/)?bedplate (?:dev|serve)\b")
_INSTALL = re.compile(r"pip install '?bedplate(?:\[(\w+)\])?'?")
# What a snippet in the middle of a page takes for granted.
_GIVEN = f"""\
import asyncio, uuid
from langgraph_sdk import get_client

async def main():
    client = get_client(url="{URL}", api_key=None)
    thread_id = str(uuid.uuid4())
    await client.threads.create(thread_id=thread_id)
"""


@dataclass(frozen=True)
class Block:
    place: str
    language: str
    text: str


def _blocks() -> list[Block]:
    found: list[Block] = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            place = f"{page.relative_to(ROOT)}:{line}"
            found.append(Block(place, match[2], dedent(match[1] + match[3])))
    return found


BLOCKS = _blocks()


def _of(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.place)


def _passes(command: list[str], stack: Stack, *, codes: tuple[int, ...] = (0,)) -> None:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DATABASE_URI": stack.endpoints.database_uri,
        "NATS_URL": stack.endpoints.nats_url,
        "BEDPLATE_URL": stack.url,
    }
    ended = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ended.returncode in codes, f"{command}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"


def test_every_block_says_in_what_language_it_is() -> None:
    assert [b.place for b in BLOCKS if b.language not in ("sh", "python", "json", "text")] == []
    assert {"sh", "python", "json"} <= {block.language for block in BLOCKS}


@pytest.mark.timeout(LIMIT_S + 100)
@_of("sh")
def test_a_command_works(block: Block, desk: Stack) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        command = line.partition("  #")[0].strip()
        if command.startswith("make "):
            _passes(["make", "-n", *shlex.split(command)[1:]], desk)
        elif _SERVER.match(command):
            program, *words = command.split()
            assert "bedplate" in program
            project = {"path/to/langgraph.json": "examples/support-desk/langgraph.json"}
            words = [project.get(word, word) for word in words]
            _passes(["bedplate", *words, "--help"], desk)
        elif installs := _INSTALL.search(command):
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert installs[1] is None or installs[1] in extras["optional-dependencies"]
        else:
            # A delivery with an invented id is not there (1); wrong usage would be 2.
            codes = (0, 1) if command.startswith(("bedplate webhooks", "bedplate doctor")) else (0,)
            command = command.replace("curl -s", "curl -sf").replace(URL, desk.url)
            command = command.replace(
                "--config langgraph.json", "--config examples/support-desk/langgraph.json"
            )
            _passes(["bash", "-euo", "pipefail", "-c", command], desk, codes=codes)


@pytest.mark.timeout(LIMIT_S + 100)
@_of("python")
def test_a_snippet_works(block: Block, desk: Stack, tmp_path: Path) -> None:
    text = block.text
    if "asyncio.run(" not in text and re.search(r"^(?:    )*await ", text, re.MULTILINE):
        is_in_function = "async def " in text
        if not is_in_function:
            text = f"{_GIVEN}{indent(text, '    ')}\nasyncio.run(main())\n"
    script = tmp_path / "snippet.py"
    script.write_text(text.replace(URL, desk.url))
    _passes([sys.executable, "-W", "ignore", str(script)], desk)


@_of("json")
def test_a_piece_of_a_project_file_is_accepted(block: Block, tmp_path: Path) -> None:
    document = json.loads(block.text)
    assert document.keys() <= TOP_LEVEL, "a piece of a langgraph.json"
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"g": "m:g"}, **document}))
    environ = {"LG_WEBHOOK_TOKEN": "x"}
    assert load_config(file, environ).notices == ()
    given = given_block(file, environ)
    given.block.filled_headers(given.environment)
    given_persistence(file, environ)
