"""What clients send about crons, one model per body."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    create_model,
    model_validator,
)

from bedplate_proto.vocabulary import OnCompletion

from .forms import Flag, Form, Limit, Object, Offset, RunRequest, SortOrder

CronField = Literal[
    "cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", "schedule", "timezone",
    "created_at", "updated_at", "payload", "user_id", "next_run_date", "metadata", "enabled", "now",
]  # fmt: skip
# Of runs, but not of crons: to leave them out would be another run than the client asked for.
_NOT_OF_CRONS = ("command", "checkpoint", "checkpoint_id", "after_seconds")


def _must_be_text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be an ISO 8601 text")
    return value


def _in_utc(at: datetime | None) -> datetime | None:
    """A time without a zone is UTC, as everywhere in the API."""
    if at is None:
        return None
    try:
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be a time between the years 1 and 9999") from error


class CronRequest(RunRequest):
    """A run, and when: five fields of cron, a sixth for seconds, or a word like `@hourly`."""

    schedule: str = Field(description="`minute hour day month weekday [second]`, or `@hourly`.")
    timezone: str | None = Field(None, description="IANA name; none: UTC.")
    end_time: Annotated[
        datetime | None, BeforeValidator(_must_be_text), AfterValidator(_in_utc)
    ] = Field(None, description="Not fired after this time.")
    enabled: Flag = True
    on_run_completed: OnCompletion | None = Field(
        OnCompletion.DELETE, description="What becomes of each run's thread, if it has its own."
    )

    @model_validator(mode="before")
    @classmethod
    def _is_for_a_cron(cls, given: Any) -> Any:
        fields = cast("Object", given) if isinstance(given, dict) else {}
        for name in _NOT_OF_CRONS:
            if fields.get(name) is not None:
                raise ValueError(f"{name}: not supported for crons")
        return given


def _optional() -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, field in CronRequest.model_fields.items():
        kind: Any = field.annotation
        fields[name] = (kind | None, Field(None, description=field.description))
    return create_model(
        "CronUpdate", __base__=Form, __doc__="Only what is given changes.", **fields
    )


CronUpdate = _optional()
"""For the documentation: what is given is checked together with the rest of the cron."""


class CronFilter(Form):
    assistant_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="A UUID or a graph's name."
    )
    thread_id: UUID | None = None
    enabled: Flag | None = None
    metadata: Object | None = None


class CronSearch(CronFilter):
    limit: Limit = 10
    offset: Offset = 0
    sort_by: (
        Literal[
            "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at",
            "updated_at",
        ]
        | None
    ) = None  # fmt: skip
    sort_order: SortOrder | None = None
    select: list[CronField] | None = None
