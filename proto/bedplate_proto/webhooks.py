"""Orders about deliveries of webhooks."""

from __future__ import annotations

from uuid import UUID

from .envelope import Message


class Redeliver(Message):
    """Try a delivery again, now: one that was given up, one that arrived, or one that waits.

    The answer is its row. Repeating the order is as good as giving it once, until a try begins.
    """

    tenant: str
    delivery_id: UUID


class WebhookPoke(Message):
    """A hint: a delivery is due. May be lost; the dispatchers look by themselves, later."""
