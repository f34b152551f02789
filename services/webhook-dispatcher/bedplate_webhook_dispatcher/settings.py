"""What an operator may set."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bedplate.backbone import BackboneSettings

DAY_S = 86_400.0


class Settings(BackboneSettings):
    service: ClassVar[str] = "webhook-dispatcher"

    config: Path | None = Field(
        None,
        description="The project's langgraph.json, for its `webhooks` and `encryption` blocks.",
        json_schema_extra={"env": ["LANGGRAPH_CONFIG_PATH"]},
    )
    secrets: list[str] = Field(
        [],
        description="Signing secrets, `whsec_` and base64; several while one is being replaced.",
        json_schema_extra={"env": ["BEDPLATE_WEBHOOK_SECRET", "WEBHOOK_SECRET"], "secret": True},
    )
    app_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#@\s]+$",
        description="Where this server's own app answers, for webhooks that are only a path.",
    )
    connections_max: int = Field(8, ge=2, le=100, description="PostgreSQL connections.")
    tries_at_once_max: int = Field(
        100, ge=1, le=10_000, description="Deliveries under way in this process."
    )
    tries_per_destination_max: int = Field(
        8, ge=1, le=1000, description="The same to one host and port; 1 while it fails."
    )
    connect_s: float = Field(5.0, gt=0, le=60, description="Seconds to resolve and connect.")
    deliver_s: float = Field(
        30.0, gt=0, le=300, description="Seconds for a whole try, redirects included."
    )
    retry_window_s: float = Field(
        DAY_S, ge=0, le=30 * DAY_S, description="Seconds after which a delivery is given up."
    )
    retry_base_s: float = Field(
        2.0, gt=0, le=3600, description="Longest delay before the second try; it doubles."
    )
    retry_s_max: float = Field(
        3600.0, gt=0, le=DAY_S, description="Longest delay between two tries."
    )
    look_s: float = Field(
        1.0, gt=0, le=60, description="Seconds between two looks for what is due."
    )
    keep_delivered_s: float = Field(
        3 * DAY_S, ge=0, description="Seconds a delivery that arrived is kept."
    )
    keep_dead_s: float = Field(
        30 * DAY_S, ge=0, description="Seconds a delivery that was given up is kept."
    )
    sweep_s: float = Field(60.0, gt=0, description="Seconds between two sweeps.")
