"""What an operator may set."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bedplate.backbone import BackboneSettings, StreamSettings
from bedplate.kernel.fairness import Limits


class Settings(BackboneSettings, StreamSettings):
    service: ClassVar[str] = "run-scheduler"

    config: Path | None = Field(
        None,
        description="The project's langgraph.json, for how long threads and store items live.",
        json_schema_extra={"env": ["LANGGRAPH_CONFIG_PATH"]},
    )
    connections_max: int = Field(10, ge=2, le=100, description="PostgreSQL connections.")
    attempts_max: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts that may die under a run before it ends in error.",
        json_schema_extra={"env": ["BEDPLATE_ATTEMPTS_MAX", "BG_JOB_MAX_RETRIES"]},
    )
    tickets_max: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Runs that may lie in the queue of the executors. Others wait where fairness is"
        " decided, so this is how far a new group's first run may be behind.",
    )
    tenant_runs_max: int | None = Field(
        None, ge=1, description="Runs of one tenant at a time; none: no limit."
    )
    assistant_runs_max: int | None = Field(
        None, ge=1, description="Runs of one assistant at a time; none: no limit."
    )
    user_runs_max: int | None = Field(
        None,
        ge=1,
        description="Runs of one user at a time (the gateway's USER_KEY says who that is);"
        " none: no limit.",
    )
    expiry_s: float = Field(
        1.0, gt=0, le=60, description="Seconds between two looks for leases that ran out."
    )
    look_s: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Seconds between two looks for what is due by time (delayed runs, crons), and"
        " for what a scheduler that died left undone.",
    )
    lost_ticket_s: float = Field(
        10.0, gt=0, le=3600, description="Age in seconds of a ticket that counts as lost."
    )
    crons_enabled: bool = Field(
        True,
        description="Whether crons are fired.",
        json_schema_extra={"env": ["FF_CRONS_ENABLED"]},
    )
    cron_late_s_max: float = Field(
        60.0,
        ge=0,
        description="A cron that nobody fired within so many seconds is not fired for that time.",
    )
    measure_s: float = Field(
        5.0, gt=0, description="Seconds between two measurements of the queues for /metrics."
    )
    sweep_s: float = Field(60.0, gt=0, description="Seconds between two sweeps of what is over.")
    doomed_s: float = Field(
        60.0, ge=0, description="Seconds a stateless run's thread is kept for readers at work."
    )

    @property
    def limits(self) -> Limits:
        return Limits(
            tickets=self.tickets_max,
            per_tenant=self.tenant_runs_max,
            per_assistant=self.assistant_runs_max,
            per_user=self.user_runs_max,
        )
