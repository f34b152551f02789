"""What other programs rely on, as files: `proto/published/`, written by `make contracts`.

The source is `bedplate_proto` (messages, subjects, streams) and the gateway's table of paths. From
them come one JSON Schema and one sample per message and version, an AsyncAPI document of the bus
and an OpenAPI document of HTTP. The files are committed, so that a change of the contract is a diff
that somebody reads; `stale` lists those that are not what would be written now.

Promised: the same source gives the same bytes; nothing that readers of a published version rely on
is changed silently: `write` refuses (`breaking`). Not promised: that `openapi.json` only grows; its
compatibility is the HTTP contract's, not this one's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bedplate.kernel.errors import Conflict

from .asyncapi import document
from .changes import breaking_changes
from .openapi import http_document
from .samples import sample_of
from .schemas import published_messages, published_name, schema_of

COMMAND = "make contracts"
_ADVICE = (
    "Readers of the published version would break. Keep that class as it is and add a new one"
    " beside it with the next schema_version (proto/README.md). If this version was never released,"
    " delete its file in proto/published first."
)


class Breaking(Conflict):
    """A message was changed in a way that breaks its readers."""


def files() -> dict[str, str]:
    """Name below the folder → text, of everything that is published."""
    messages = published_messages()
    found: dict[str, Any] = {}
    for message in messages:
        name = f"{published_name(message)}.json"
        found[name] = schema_of(message)
        found[f"samples/{name}"] = sample_of(message)
    found["asyncapi.json"] = document(messages)
    found["openapi.json"] = http_document()
    return {name: _text(content) for name, content in sorted(found.items())}


def write(folder: Path) -> list[Path]:
    """Bring `folder` up to date; the files there are. Raises `Breaking`."""
    if problems := breaking(folder):
        raise Breaking("; ".join(problems) + f". {_ADVICE}")
    wanted = files()
    for old in _names_in(folder) - set(wanted):
        (folder / old).unlink()
    for name, text in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return [folder / name for name in wanted]


def stale(folder: Path) -> list[str]:
    """What is missing, different or left over in `folder`; empty when it is up to date."""
    wanted, there = files(), _names_in(folder)
    problems = [f"{name} is of no message any more" for name in sorted(there - set(wanted))]
    for name, text in wanted.items():
        if name not in there:
            problems.append(f"{name} is missing")
        elif (folder / name).read_text("utf-8") != text:
            problems.append(f"{name} is not what the source says now")
    return problems


def breaking(folder: Path) -> list[str]:
    """Where today's messages break readers of those published in `folder`."""
    today = {f"{published_name(each)}.json": schema_of(each) for each in published_messages()}
    problems: list[str] = []
    for path in sorted(folder.glob("*.v*.json")):
        after = today.get(path.name)
        if after is None:
            problems.append(f"{path.stem}: the message is gone")
        else:
            before = json.loads(path.read_text("utf-8"))
            problems += [f"{path.stem}: {each}" for each in breaking_changes(before, after)]
    return problems


def _names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}


def _text(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


__all__ = ["COMMAND", "Breaking", "breaking", "files", "stale", "write"]
