"""Orders about crons."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from .envelope import Message
from .runs import CreateRun
from .vocabulary import OnCompletion


class CronPlan(Message):
    """What a cron is to do. JSON parts are text, stored as they are."""

    assistant_id: UUID
    schedule: str
    timezone: str | None
    end_time: datetime | None
    enabled: bool
    on_run_completed: OnCompletion | None = Field(
        description="What becomes of each run's thread; none: it runs on a thread of its own."
    )
    user_id: str | None = Field(description="Who made it: its runs are theirs.")
    metadata: str = Field(description="Of the cron, and of its runs.")
    payload: str = Field(description="The request as the client sees it.")
    order: CreateRun = Field(
        description="Its runs, made without the assistant: that one's config, context and metadata"
        " are put below when a run is due. Ids of run and thread are placeholders."
    )


class CreateCron(Message):
    """The answer is the cron's row. Idempotent by id."""

    tenant: str
    cron_id: UUID
    thread_id: UUID | None
    plan: CronPlan


class UpdateCron(Message):
    """Replaces the whole plan, made from the cron as it was at this revision: a conflict if it is
    another by now. The answer is the cron's row."""

    tenant: str
    cron_id: UUID
    revision: int = Field(ge=1)
    plan: CronPlan


class DeleteCron(Message):
    tenant: str
    cron_id: UUID


class DeleteCronsOfAssistant(Message):
    """Its crons go with an assistant."""

    tenant: str
    assistant_id: UUID
