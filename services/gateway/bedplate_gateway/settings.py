"""What an operator may set."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .project import ProjectSettings

MIB = 1024 * 1024


class Settings(ProjectSettings):
    service: ClassVar[str] = "gateway"

    host: str = Field(
        "127.0.0.1",
        description="Address on which the API is served.",
        json_schema_extra={"env": ["HOST"]},
    )
    port: int = Field(
        2024,
        ge=0,
        le=65535,
        description="Port of the API; 0 picks a free one and logs it.",
        json_schema_extra={"env": ["PORT"]},
    )
    tenant: str = Field(
        "default",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Whose threads, runs and assistants are served here; one token of subjects.",
        json_schema_extra={"env": ["BEDPLATE_TENANT"]},
    )
    connections_max: int = Field(
        10,
        ge=1,
        le=1000,
        description="PostgreSQL connections.",
        json_schema_extra={"env": ["LANGGRAPH_POSTGRES_POOL_MAX_SIZE"]},
    )
    user_key: str = Field(
        "langgraph_auth_user_id",
        min_length=1,
        description="Key of a run's `configurable` that names its user, whose limit of runs at a"
        " time the run-scheduler may keep.",
    )
    crons_enabled: bool = Field(
        True,
        description="Whether crons are served.",
        json_schema_extra={"env": ["FF_CRONS_ENABLED"]},
    )
    event_streaming_enabled: bool = Field(
        True,
        description="Whether the event-streaming protocol (v2) is served.",
        json_schema_extra={"env": ["FF_V2_EVENT_STREAMING"]},
    )
    clients_max: int = Field(
        10_000, ge=1, description="Requests and streams at once; more are answered with 503."
    )
    body_bytes_max: int = Field(
        20 * MIB,
        ge=1024,
        le=300 * MIB,
        description="Largest request body in bytes; a larger one is answered with 413.",
        json_schema_extra={"env": ["HTTP_MAX_REQUEST_BODY_BYTES"]},
    )
    frame_bytes_max: int = Field(
        MIB,
        ge=1024,
        le=300 * MIB,
        description="Largest websocket message from a client in bytes; a larger one closes (1009).",
    )
    subscriptions_max: int = Field(
        100, ge=1, le=10_000, description="Subscriptions of one websocket."
    )
    stalled_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds after which a client that takes no bytes is disconnected (on Linux).",
    )
    heartbeat_s: float = Field(
        5.0, gt=0, le=30, description="Seconds of silence after which a stream sends a comment."
    )
    watch_s: float = Field(
        5.0,
        gt=0,
        le=60,
        description="Seconds between two looks whether a followed run is over in PostgreSQL.",
    )
