"""What the pages say exists: links, `make` tasks, `bedplate` commands; nothing of one machine."""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

_LINK = re.compile(r"(?<!\\)\[[^\]\[]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_FENCE = re.compile(r"^\s*(```|~~~)")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PROMPT = r"(?:^|&& |; |\| )(?:[$#>] )?(?:[A-Z_]+=\S+ )*"
_MAKE = re.compile(_PROMPT + r"make(?: -\S+)* ([a-z][\w-]*)")
_BEDPLATE = re.compile(_PROMPT + r"(?:uv run |\S*/bin/)?bedplate ([a-z][\w-]*)")
_TARGET = re.compile(r"^([a-z][\w-]*(?: [a-z][\w-]*)*)\s*:(?!=)", re.MULTILINE)

_MACHINE_PATH = re.compile(r"(?<![\w.$}~*-])/(?:root|home/\w+|Users/\w+|work|farm|mnt)/\S*")
_REGISTRY = re.compile(
    r"\b(?:[\w-]+\.)*(?:pypi|registry|npmjs|pythonhosted|artifactory|nexus|ghcr|quay)"
    r"(?:\.[\w-]+)*\.(?:org|com|io|net|dev|local|internal|example)\b|--(?:extra-)?index-url",
    re.IGNORECASE,
)


def _code(source: Any) -> list[tuple[int, str]]:
    """Lines of fenced blocks and inline code: only there a command is meant to be typed."""
    found: list[tuple[int, str]] = []
    is_fenced = False
    for number, line in enumerate(source.text.splitlines(), 1):
        if _FENCE.match(line):
            is_fenced = not is_fenced
        elif is_fenced:
            found.append((number, line.strip()))
        else:
            found += [(number, span.strip()) for span in _SPAN.findall(line)]
    return found


def _dead_links(source: Any) -> list[str]:
    problems: list[str] = []
    is_fenced = False
    for number, line in enumerate(source.text.splitlines(), 1):
        if _FENCE.match(line):
            is_fenced = not is_fenced
        for target in [] if is_fenced else _LINK.findall(_SPAN.sub("", line)):
            path = target.partition("#")[0]
            if not path or re.match(r"[a-z][a-z0-9+.-]*:", path):
                continue
            if not (ROOT / PurePosixPath(source.path).parent / path).exists():
                problems.append(f"{source.path}:{number}: {target} does not exist: mend the link")
    return problems


def _unlisted(sources: list[Any]) -> list[str]:
    listed = {
        target.partition("#")[0]
        for source in sources
        if source.path == "README.md"
        for target in _LINK.findall(source.text)
    }
    return [
        f"{page.path}:1: nobody finds it: add it to README.md"
        for page in _pages(sources)
        if page.is_in("docs") and page.path not in listed
    ]


def _unknown_commands(source: Any, tasks: set[str], commands: set[str]) -> list[str]:
    problems: list[str] = []
    for number, line in _code(source):
        for word, pattern, known, where in (
            ("make", _MAKE, tasks, "the Makefile"),
            ("bedplate", _BEDPLATE, commands, "bedplate.cli"),
        ):
            problems += [
                f"{source.path}:{number}: `{word} {name}` is not in {where}: mend the page"
                for name in pattern.findall(line)
                if name not in known
            ]
    return problems


def _makes_command(func: ast.expr) -> bool:
    """`@click.command`, `@group.command`, `@group.group`."""
    return isinstance(func, ast.Attribute) and func.attr in ("command", "group")


def _cli_commands(modules: list[Any]) -> set[str]:
    """Names of what `@group.command()` decorates, as click makes them."""
    names: set[str] = set()
    for source in modules:
        if not source.path.startswith("libs/bedplate/cli"):
            continue
        for node in source.nodes:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for made in node.decorator_list:
                call = made if isinstance(made, ast.Call) else None
                func = call.func if call else made
                if not _makes_command(func):
                    continue
                words = (
                    [*call.args, *(k.value for k in call.keywords if k.arg == "name")]
                    if call
                    else []
                )
                named = [word.value for word in words if isinstance(word, ast.Constant)]
                plain = re.sub(r"_(command|cmd|group|grp)$", "", node.name).replace("_", "-")
                names.add(str(named[0]) if named else plain)
    return names


def _of_one_machine(source: Any) -> list[str]:
    if source.name == "uv.lock" or source.path == "tests/tidy/test_documents.py":
        return []
    # An image is a machine of its own, and its registry is part of its name.
    is_image = source.is_in("infra") or source.name.startswith(("docker-compose", "Dockerfile"))
    problems: list[str] = []
    for number, line in enumerate(source.text.splitlines(), 1):
        if not is_image and (path := _MACHINE_PATH.search(line)):
            problems.append(f"{source.path}:{number}: {path[0]} is of one machine")
        if not is_image and (host := _REGISTRY.search(line)):
            problems.append(f"{source.path}:{number}: {host[0]}: the registry is the user's choice")
    return problems


def _pages(sources: list[Any]) -> list[Any]:
    return [source for source in sources if source.name.endswith(".md")]


def test_relative_links_lead_somewhere(sources: list[Any], hold: Any) -> None:
    hold([problem for page in _pages(sources) for problem in _dead_links(page)])


def test_commands_on_the_pages_exist(sources: list[Any], modules: list[Any], hold: Any) -> None:
    makefile = next((source.text for source in sources if source.path == "Makefile"), "")
    tasks = {name for names in _TARGET.findall(makefile) for name in names.split()}
    commands = _cli_commands(modules)
    hold([p for page in _pages(sources) for p in _unknown_commands(page, tasks, commands)])


def test_nothing_is_of_one_machine(sources: list[Any], hold: Any) -> None:
    hold([problem for source in sources for problem in _of_one_machine(source)])


def test_every_page_is_in_the_readmes_list(sources: list[Any], hold: Any) -> None:
    hold(_unlisted(sources))


def test_a_page_that_is_in_no_list_is_found(source_of: Any) -> None:
    readme = source_of("README.md", "[a](docs/a.md), `docs/b.md`")
    pages = [source_of("docs/a.md", ""), source_of("docs/b.md", "[a](a.md)")]
    assert len(_unlisted([readme, *pages])) == 1


@pytest.mark.parametrize("text", ["[a](missing.md)", "[a](docs/none.md#part)", "![x](<no.png>)"])
def test_a_dead_link_is_found(source_of: Any, text: str) -> None:
    assert len(_dead_links(source_of("README.md", text))) == 1


@pytest.mark.parametrize(
    "text", ["[a](https://x.example/y)", "[a](#part)", "[a](pyproject.toml)", "`[a](b)`"]
)
def test_a_live_link_is_not(source_of: Any, text: str) -> None:
    assert _dead_links(source_of("README.md", text)) == []


@pytest.mark.parametrize(
    "text",
    ["`make tests`", "```\n$ make tests\n```", "`bedplate fly`", "`.venv/bin/bedplate fly --x`"],
)
def test_a_command_that_does_not_exist_is_found(source_of: Any, text: str) -> None:
    page = source_of("README.md", text)
    assert len(_unknown_commands(page, {"test", "dev"}, {"dev"})) == 1


def test_prose_is_no_command(source_of: Any) -> None:
    page = source_of("README.md", "make sure that `make dev` runs\n```\nbedplate dev --port 1\n```")
    assert _unknown_commands(page, {"dev"}, {"dev"}) == []


def test_commands_are_read_from_the_decorators(source_of: Any) -> None:
    text = "@main.command()\ndef dev_command(): ...\n@main.command('go')\n@x\ndef y(): ...\n"
    assert _cli_commands([source_of("libs/bedplate/cli.py", text)]) == {"dev", "go"}


@pytest.mark.parametrize(
    "text",
    ['path = "/home/me/x.py"', "see /root/notes/x", "index = 'https://my.pypi.org/simple'"],
)
def test_what_is_of_one_machine_is_found(source_of: Any, text: str) -> None:
    assert len(_of_one_machine(source_of("libs/bedplate/x.py", text))) == 1
