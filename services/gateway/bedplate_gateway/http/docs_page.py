"""The OpenAPI document as one page for people: no script, and nothing from any other host.

The usual pages load a megabyte of script from a public network: blank where there is none, and
somebody else's code in a page that may hold a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import orjson

Schema = dict[str, Any]

# Whatever a description holds, the browser runs and loads nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --dim: #8887; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--dim); }
code, summary { font-family: ui-monospace, monospace; font-size: 13px; }
details { border: 1px solid var(--dim); border-radius: 4px; margin: .4rem 0; padding: .4rem .7rem; }
summary { cursor: pointer; }
summary span { font-family: system-ui, sans-serif; opacity: .75; margin-left: .8rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .7rem .25rem 0; }
tr + tr { border-top: 1px solid var(--dim); }
"""


def page_of(document: Schema) -> str:
    """HTML. Every part of the document is in it once; models are linked to where they stand."""
    info = document["info"]
    tagged: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            shown = _operation(path, method, operation)
            tagged.setdefault(operation["tags"][0], []).append(shown)
    title = f"{escape(info['title'])} {escape(info['version'])}: API"
    return "".join(
        (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
            '<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI ',
            f"{escape(document['openapi'])}).</p>",
            *(f"<h2>{escape(tag)}</h2>{''.join(shown)}" for tag, shown in tagged.items()),
            "<h2>Models</h2>",
            *(_model(*each) for each in document["components"]["schemas"].items()),
            "</body></html>",
        )
    )


def _operation(path: str, method: str, operation: Schema) -> str:
    head = f"<b>{method.upper()}</b> {escape(path)}<span>{escape(operation['summary'])}</span>"
    parts = [f'<details id="{escape(operation["operationId"])}"><summary>{head}</summary>']
    if parameters := operation.get("parameters"):
        rows = (
            (
                f"<code>{escape(each['name'])}</code>",
                f"{escape(each['in'])}{', required' if each['required'] else ''}",
                _kind(each["schema"]),
                escape(each.get("description", "")),
            )
            for each in parameters
        )
        parts.append(_table(rows))
    if body := operation.get("requestBody"):
        parts.append(f"<p>Body: {_kind(body['content']['application/json']['schema'])}</p>")
    rows = (
        (f"<code>{status}</code>", escape(answer["description"]), _content(answer))
        for status, answer in operation["responses"].items()
    )
    return "".join((*parts, _table(rows), "</details>"))


def _content(answer: Schema) -> str:
    return ", ".join(
        f"{_kind(content['schema'])} <code>{escape(media)}</code>"
        for media, content in answer.get("content", {}).items()
    )


def _model(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(field)}</code>",
            "required" if field in required else _default(described),
            _kind(described),
            escape(described.get("description", "")),
        )
        for field, described in schema.get("properties", {}).items()
    ]
    about = escape(schema.get("description", ""))
    kind = "" if rows else f"<p>{_kind(schema)}</p>"
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{about}</p>{kind}{_table(rows)}'


def _default(schema: Schema) -> str:
    if schema.get("default") is None:
        return ""
    return f"default <code>{_json(schema['default'])}</code>"


def _kind(schema: Schema) -> str:
    """What a value of it is, in words; models as links."""
    if reference := schema.get("$ref"):
        name = escape(reference.rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(map(_kind, schema[key])))
    if "const" in schema:
        return f"<code>{_json(schema['const'])}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{_json(value)}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    kind = schema.get("type", "anything")
    words = kind if isinstance(kind, str) else " or ".join(kind)
    return escape(f"{words} ({schema['format']})" if "format" in schema else words)


def _json(value: Any) -> str:
    return escape(orjson.dumps(value).decode())


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    """The cells are HTML."""
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{body}</table>" if body else ""
