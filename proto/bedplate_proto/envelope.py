"""What every message has in common.

Orders (request-reply) and tickets are bare JSON of their model. Facts (`run.created`, …) are
CloudEvents 1.0 in structured JSON mode, because outsiders read them with tools that know that form.
A run's own events are newline-delimited JSON (see `runs.RunEvent`), because they are the hot path.

Source: CloudEvents 1.0.2, https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

MESSAGE_BYTES_MAX = 1_000_000
"""The largest message on the bus, in bytes: below the broker's usual 1 MiB. Larger payloads travel
by reference (`parcel`, orders) or go on in the next message (a run's events)."""

ERROR_HEADER = "Bedplate-Error"
"""Set on the reply to an order that failed; its value is the kind of error, the body an
`OrderError`."""

PARCEL_HEADER = "Bedplate-Parcel"
"""Set when the body of an order or reply was too large: its value is the id of the parcel that
holds it."""

CONTINUES_HEADER = "Bedplate-Continues"
"""Set to `1` on a run's event message that goes on with the line the message before it began."""


class Message(BaseModel):
    """Frozen; unknown fields are ignored on reading, so that a newer publisher does not break an
    older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: ClassVar[int] = 1


class OrderError(Message):
    """Why an order was not carried out. `kind`: refused, too_large, not_found, conflict,
    unavailable, handler_failed, internal."""

    kind: str
    message: str
    retry_s: float | None = None
    ids: dict[str, Any] = {}


class Fact(Message):
    """The data of a CloudEvent; `noun_participle` is its type's last part."""

    noun_participle: ClassVar[str]


class CloudEvent(BaseModel):
    """A fact on its way. `id` is also the broker's message id: the same fact published twice has
    the same id."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    tenant: str
    traceparent: str | None = None
    data: dict[str, Any]


CLOUD_EVENT_TYPE_PREFIX = "dev.bedplate"


def cloud_event(fact: Fact, *, event_id: str, tenant: str, source: str, at: datetime) -> CloudEvent:
    """Wrap `fact`. `event_id` must be the same whenever the same fact is published again."""
    kind = f"{CLOUD_EVENT_TYPE_PREFIX}.{fact.noun_participle}.v{fact.schema_version}"
    return CloudEvent(
        id=event_id,
        source=source,
        type=kind,
        time=at,
        tenant=tenant,
        data=fact.model_dump(mode="json"),
    )
