"""Signatures by which a receiver knows that a delivery is ours, whole and fresh.

Source: Standard Webhooks 1.0,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from uuid import UUID

from bedplate.kernel.errors import Refused

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises `Refused`, without showing any of it."""
    if not secret.startswith(_PREFIX):
        raise Refused(f"a webhook secret must begin with {_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise Refused(f"a webhook secret must be base64 after {_PREFIX}") from None
    if len(key) not in _KEY_BYTES:
        raise Refused(f"a webhook secret must have 24 to 64 bytes, not {len(key)}")
    return key


def message_id(delivery_id: UUID) -> str:
    """The same at every try: a receiver drops what it has seen."""
    return f"msg_{delivery_id.hex}"


def signature(keys: Sequence[bytes], message: str, *, timestamp: int, body: bytes) -> str:
    """`webhook-signature` of this body at this second (Unix time), one part per key."""
    signed = f"{message}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, "sha256") for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
