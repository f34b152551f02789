"""Whatever a description holds, the page shows it as text."""

from __future__ import annotations

from typing import Any

from bedplate_gateway.http.docs_page import page_of

EVIL = "<img src=x onerror=alert(1)>"


def _document(**operation: Any) -> dict[str, Any]:
    described = {
        "operationId": "get_x",
        "summary": EVIL,
        "tags": [EVIL],
        "responses": {"200": {"description": EVIL}},
    }
    schema = {"description": EVIL, "properties": {EVIL: {"enum": [EVIL], "default": EVIL}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": EVIL, "version": EVIL},
        "paths": {EVIL: {"get": described | operation}},
        "components": {"schemas": {EVIL: schema}},
    }


def test_no_text_of_the_document_becomes_a_tag() -> None:
    page = page_of(
        _document(
            parameters=[{"name": EVIL, "in": "query", "required": False, "schema": {"type": EVIL}}],
            requestBody={"content": {"application/json": {"schema": {"$ref": f"#/{EVIL}"}}}},
        )
    )
    assert "<img" not in page
    assert page.count("&lt;img") >= 10


def test_kinds_are_told_in_words() -> None:
    some = {"anyOf": [{"type": "array", "items": {"$ref": "#/a/Run"}}, {"type": "null"}]}
    parameter = {"name": "x", "in": "query", "required": True, "schema": some}
    page = page_of(_document(parameters=[parameter]))
    assert 'list of <a href="#Run">Run</a> or null' in page
    assert "query, required" in page
