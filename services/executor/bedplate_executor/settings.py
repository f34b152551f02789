"""What an operator may set. Keeper and workers read the same variables."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from bedplate.backbone import BackboneSettings

GIB = 1024**3


class Settings(BackboneSettings):
    service: ClassVar[str] = "executor"

    tenant: str = Field(
        "default",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Whose assistants the graphs become.",
        json_schema_extra={"env": ["BEDPLATE_TENANT"]},
    )
    config: Path = Field(
        Path("langgraph.json"),
        description="The project's langgraph.json.",
        json_schema_extra={"env": ["LANGGRAPH_CONFIG_PATH"]},
    )
    gateway_url: str = Field(
        "http://127.0.0.1:2024",
        pattern=r"^https?://[^/?#]+(/[^?#]*)?$",
        description="Where graphs reach the API with `get_client()` without a URL; with the mount"
        " prefix, if there is one.",
    )
    reload: bool = Field(False, description="Load the project anew when its files change.")
    workers: int = Field(
        os.cpu_count() or 1,
        ge=1,
        le=256,
        description="Worker processes that run graphs.",
        json_schema_extra={"default_text": "one per core"},
    )
    spare: bool = Field(
        True,
        description="Keep one more process with the libraries imported, so that a worker that dies"
        " is replaced at once; costs its memory.",
    )
    slots: int = Field(
        10,
        ge=1,
        le=1000,
        description="Runs at a time in one worker.",
        json_schema_extra={"env": ["N_JOBS_PER_WORKER"]},
    )
    lease_s: float = Field(6.0, ge=1, le=600, description="Seconds a lease lasts unrenewed.")
    renew_s: float = Field(2.0, ge=0.1, le=120, description="Seconds between two renewals.")
    attempts_max: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts that may die under a run before it ends in error.",
        json_schema_extra={"env": ["BEDPLATE_ATTEMPTS_MAX", "BG_JOB_MAX_RETRIES"]},
    )
    run_s_max: float = Field(
        86_400.0,
        gt=0,
        description="Seconds an attempt may take before its run ends as `timeout`.",
        json_schema_extra={"env": ["BG_JOB_TIMEOUT_SECS"]},
    )
    cancel_s: float = Field(
        10.0, gt=0, description="Seconds a cancelled graph has before it is left behind."
    )
    recycle_s: float = Field(
        60.0,
        ge=0,
        description="Seconds the other runs of a worker have when code of a stopped run goes on in"
        " it; then they are handed over, and it is replaced.",
    )
    stall_report_s: float = Field(
        5.0, gt=0, description="Seconds an event loop may stand still before it is reported."
    )
    stall_kill_s: float = Field(
        30.0, gt=0, description="Seconds an event loop may stand still before its worker is killed."
    )
    drain_s: float = Field(
        20.0,
        ge=0,
        le=2800,
        description="Seconds graphs have to reach their next super-step at shutdown; STOP_S grows"
        " with it unless it is set too.",
        json_schema_extra={"env": ["BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS"]},
    )
    worker_memory_bytes_max: int = Field(
        4 * GIB,
        ge=0,
        description="Bytes a worker may allocate; 0: no limit. More is a MemoryError in its run.",
    )
    worker_connections_max: int = Field(
        4, ge=2, le=100, description="PostgreSQL connections of one worker."
    )

    @model_validator(mode="before")
    @classmethod
    def _stopping_outlasts_the_drain(cls, given: dict[str, Any]) -> dict[str, Any]:
        # A fifth of STOP_S is for closing, and the handover takes a moment. What is no number is
        # told by the field itself.
        with suppress(KeyError, TypeError, ValueError):
            return {"stop_s": max(30.0, 1.25 * float(given["drain_s"]) + 5.0), **given}
        return given
