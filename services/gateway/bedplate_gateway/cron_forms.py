"""What clients send about crons, one model per body."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from bedplate_proto.vocabulary import OnCompletion

from .forms import Flag, Form, Limit, Object, Offset, RunRequest, SortOrder, UuidText, not_of_crons

CronField = Literal[
    "cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", "schedule", "timezone",
    "created_at", "updated_at", "payload", "user_id", "next_run_date", "metadata", "enabled", "now",
]  # fmt: skip
