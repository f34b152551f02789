"""Questions about store items that only an executor can answer, because they need the project's
embedding function or its own store. Answers are JSON as clients see it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .envelope import Message


class PutItem(Message):
    """`ttl`: minutes; none: never expires, unless `has_default_ttl`."""

    tenant: str
    namespace: list[str]
    key: str
    value: dict[str, Any]
    index: Literal[False] | list[str] | None = None
    ttl: float | None = None
    has_default_ttl: bool = True
    encryption_context: dict[str, Any] | None = Field(
        default=None, description="What the project's encryption handlers are told."
    )


class GetItem(Message):
    tenant: str
    namespace: list[str]
    key: str
    refresh_ttl: bool | None = None


class DeleteItem(Message):
    tenant: str
    namespace: list[str]
    key: str


class SearchItems(Message):
    tenant: str
    namespace_prefix: list[str]
    filter: dict[str, Any] | None = None
    limit: int = Field(ge=1)
    offset: int = Field(ge=0)
    query: str | None = None
    refresh_ttl: bool | None = None


class ListNamespaces(Message):
    tenant: str
    prefix: list[str]
    suffix: list[str]
    max_depth: int | None = None
    limit: int = Field(ge=1)
    offset: int = Field(ge=0)
