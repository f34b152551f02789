"""What clients send about store items, one model per body."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .forms import Flag, Form, Limit, Object, Offset, list_for_null


class ItemPut(Form):
    namespace: list[str]
    key: str
    value: Object
    index: Literal[False] | list[str] | None = None
    ttl: Annotated[float, Field(strict=True, gt=0)] | None = None


class ItemKey(Form):
    namespace: list[str]
    key: str


class ItemSearch(Form):
    namespace_prefix: Annotated[
        list[str], BeforeValidator(list_for_null, json_schema_input_type=list[str] | None)
    ] = []
    filter: Object | None = None
    limit: Limit = 10
    offset: Offset = 0
    query: str | None = None
    refresh_ttl: Flag | None = None


class NamespaceList(Form):
    prefix: list[str] | None = None
    suffix: list[str] | None = None
    max_depth: Annotated[int, Field(strict=True, ge=1)] | None = None
    limit: Limit = 100
    offset: Offset = 0
