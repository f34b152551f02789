"""What an operator may set."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bedplate.chassis.settings import Settings as ChassisSettings

MIB = 1024 * 1024


class Settings(ChassisSettings):
    service: ClassVar[str] = "gateway"

    host: str = Field("127.0.0.1", description="Address on which the API is served.")
    port: int = Field(
        2024, ge=0, le=65535, description="Port of the API; 0 picks a free one and logs it."
    )
    database_uri: str = Field(
        "postgresql://postgres@127.0.0.1:5432/postgres",
        description="PostgreSQL, 15 or newer.",
        json_schema_extra={
            "env": ["DATABASE_URI", "POSTGRES_URI", "POSTGRES_URI_CUSTOM"],
            "secret": True,
        },
    )
    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        description="NATS with JetStream, 2.12 or newer; several servers separated by commas.",
        json_schema_extra={"env": ["NATS_URL"], "secret": True},
    )
    subject_prefix: str = Field(
        "bedplate",
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="First token of every subject.",
        json_schema_extra={"env": ["BEDPLATE_SUBJECT_PREFIX"]},
    )
    tenant: str = Field(
        "default",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Whose threads, runs and assistants are served here; one token of subjects.",
        json_schema_extra={"env": ["BEDPLATE_TENANT"]},
    )
    connections_max: int = Field(10, ge=1, le=200, description="PostgreSQL connections.")
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
    heartbeat_s: float = Field(
        5.0, gt=0, le=30, description="Seconds of silence after which a stream sends a comment."
    )
    watch_s: float = Field(
        5.0,
        gt=0,
        le=60,
        description="Seconds between two looks whether a followed run is over in PostgreSQL.",
    )
    cors_origins: list[str] = Field(
        ["*"],
        description="Origins whose pages may call the API.",
        json_schema_extra={"env": ["CORS_ALLOW_ORIGINS"]},
    )
