"""A key for each tenant and project. The cipher is a toy, but nothing that was sealed can be read
in it, and another key opens nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from langgraph_sdk import Auth, Encryption, EncryptionContext

encryption = Encryption()

PREFIX = "toy:"
# What this project looks for, or filters by.
PLAIN = {"owner", "kind", "count"}


def _key(context: EncryptionContext) -> bytes:
    """As a key service would: none for a context that nobody has made a key for."""
    told = context.metadata
    if not {"tenant", "project"} <= told.keys():
        raise LookupError(f"no key for {told}")
    return hashlib.sha256(f"{told['tenant']}/{told['project']}".encode()).digest()


def _turned(key: bytes, data: bytes) -> bytes:
    pad = b"".join(hashlib.sha256(key + bytes([at % 256])).digest() for at in range(32))
    return bytes(byte ^ pad[at % len(pad)] for at, byte in enumerate(data))


def _locked(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256") + _turned(key, data)


def _unlocked(key: bytes, locked: bytes) -> bytes:
    data = _turned(key, locked[32:])
    if not hmac.compare_digest(hmac.digest(key, data, "sha256"), locked[:32]):
        raise ValueError("another key has sealed this")
    return data


@encryption.context
async def context(user: Any, ctx: EncryptionContext) -> dict[str, Any]:
    return {"project": "default", **ctx.metadata, "tenant": user.tenant}


@encryption.encrypt.blob
async def encrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
    return _locked(_key(ctx), blob)


@encryption.decrypt.blob
async def decrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
    return _unlocked(_key(ctx), blob)


@encryption.encrypt.json
async def encrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
    _misbehave(data)
    key = _key(ctx)
    plain = PLAIN - {"owner"} if data.get("hides") == "owner" else PLAIN
    sealed = {name: value for name, value in data.items() if name in plain or value is None}
    for name in data.keys() - sealed.keys():
        locked = _locked(key, json.dumps(data[name]).encode())
        sealed[name] = PREFIX + base64.b64encode(locked).decode()
    if data.get("breaks") == "keys":
        del sealed["breaks"]
    return sealed


@encryption.decrypt.json
async def decrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
    key = _key(ctx)
    return {name: _opened(key, value) for name, value in data.items()}


def _opened(key: bytes, value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(PREFIX):
        return value
    return json.loads(_unlocked(key, base64.b64decode(value.removeprefix(PREFIX))))


def _misbehave(data: dict[str, Any]) -> None:
    if data.get("breaks") == "raises":
        raise ValueError(f"the key service said no to {data}")
    if data.get("breaks") == "answers":
        raise Auth.exceptions.HTTPException(
            402, "The key service wants to be paid.", headers={"X-Price": "1"}
        )


# The same without authentication: the context is what the header says.
by_header = Encryption()
by_header.encrypt.blob(encrypt_blob)
by_header.decrypt.blob(decrypt_blob)
by_header.encrypt.json(encrypt_json)
by_header.decrypt.json(decrypt_json)
