"""What clients send about assistants, one model per body."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from bedplate_proto.vocabulary import IfExists

from .forms import Config, Form, Limit, Object, Offset, OptionalObject, SortOrder

AssistantField = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "metadata", "version",
    "created_at", "updated_at",
]  # fmt: skip


class AssistantCreate(Form):
    graph_id: str
    assistant_id: UUID | None = None
    config: Config | None = None
    context: Object | None = None
    metadata: OptionalObject = {}
    name: str | None = None
    description: str | None = None
    if_exists: IfExists = IfExists.RAISE


class AssistantUpdate(Form):
    """Only what is given changes."""

    graph_id: str | None = None
    config: Config | None = None
    context: Object | None = None
    metadata: Object | None = None
    name: str | None = None
    description: str | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is given. Null is nothing, but of a description it is its end."""
        replaced = (self.graph_id, self.config, self.context, self.name)
        return (
            any(one is not None for one in replaced)
            or bool(self.metadata)
            or "description" in self.model_fields_set
        )


class AssistantFilter(Form):
    metadata: Object | None = None
    graph_id: str | None = None
    name: str | None = Field(None, description="A part of the name, in any case.")


class AssistantSearch(AssistantFilter):
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] | None = None
    sort_order: SortOrder | None = None
    select: list[AssistantField] | None = None


class AssistantVersions(Form):
    metadata: Object | None = None
    limit: Limit = 10
    offset: Offset = 0


class AssistantVersion(Form):
    version: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
