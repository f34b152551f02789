"""What a run's code shows the gateway, so that it acts as the run's user and as nobody else.

The text names an attempt and is signed with the installation's key (HMAC-SHA-256, RFC 2104). It
says nothing about the user: whoever reads it looks at the run's row, and the row must still be at
this attempt. So it is worth nothing once the attempt is over, and cannot be made by a client.
"""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

HEADER = "x-bedplate-run"
_CHARS_MAX = 200


def issue(key: bytes, run_id: UUID, attempt: int) -> str:
    """`<run_id>.<attempt>.<signature in hex>`."""
    named = f"{run_id}.{attempt}"
    return f"{named}.{_signature(key, named)}"


def read(key: bytes, credential: str) -> tuple[UUID, int] | None:
    """The attempt it was issued for; None if it was not issued with this key."""
    named, _, signature = credential[:_CHARS_MAX].rpartition(".")
    if not hmac.compare_digest(_signature(key, named).encode(), signature.encode()):
        return None
    run_id, _, attempt = named.partition(".")
    return UUID(run_id), int(attempt)


def _signature(key: bytes, named: str) -> str:
    return hmac.new(key, named.encode(), hashlib.sha256).hexdigest()
