"""What an operator may set."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bedplate.backbone import BackboneSettings


class Settings(BackboneSettings):
    service: ClassVar[str] = "run-scheduler"

    connections_max: int = Field(10, ge=2, le=100, description="PostgreSQL connections.")
    attempts_max: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts that may die under a run before it ends in error.",
        json_schema_extra={"env": ["BEDPLATE_ATTEMPTS_MAX", "BG_JOB_MAX_RETRIES"]},
    )
    expiry_s: float = Field(
        1.0, gt=0, le=60, description="Seconds between two looks for leases that ran out."
    )
    relay_s: float = Field(
        1.0, gt=0, le=60, description="Seconds between two looks for messages a dead writer left."
    )
    lost_ticket_s: float = Field(
        10.0, gt=0, le=3600, description="Age in seconds of a ticket that counts as lost."
    )
    sweep_s: float = Field(60.0, gt=0, description="Seconds between two sweeps of what is over.")
    doomed_s: float = Field(
        60.0, ge=0, description="Seconds a stateless run's thread is kept for readers at work."
    )
