"""Checkpoints that can only be read with a key.

With `LANGGRAPH_AES_KEY` every value of a checkpoint and every pending write is encrypted with
AES-EAX, in the format of LangGraph's `EncryptedSerializer`: the stock saver with the same key reads
it. With `encryption.path` the project's own handlers do it, see `Seals`. Either way what was stored
before stays readable, and is encrypted when its channel changes next.

Not encrypted are ids, names of channels, the metadata of checkpoints, and everything outside the
checkpoint tables: rows of threads and runs, events, store items. Whatever asks for more is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import structlog
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from bedplate.graphs.checkpoint_rows import Stored
from bedplate.graphs.committer import BlobRow, WriteRow
from bedplate.graphs.config import ProjectConfig, reference_of
from bedplate.graphs.loading import load
from bedplate.kernel.errors import Refused

log = structlog.get_logger(__name__)

AES_KEY, JSON_KEYS = "LANGGRAPH_AES_KEY", "LANGGRAPH_AES_JSON_KEYS"
_LENGTHS = (16, 24, 32)
# Joined to the type of what a project's own handler has encrypted.
_MARK = "+sealed"
# Blobs of one read or write that are with the handlers, and a key service behind them, at a time.
_AT_ONCE_MAX = 8
_PATH = "encryption.path"
_UNSUPPORTED = {
    "_json_encryptor": "encrypt.json",
    "_json_decryptor": "decrypt.json",
    "_context_handler": "context",
}


Row = TypeVar("Row", BlobRow, WriteRow)


def aes_serde(serde: SerializerProtocol, environ: Mapping[str, str]) -> SerializerProtocol:
    """`serde`, encrypting where `environ` has a key. Raises `Refused`, never with the key."""
    if environ.get(JSON_KEYS, "").strip():
        raise Refused(f"{JSON_KEYS} is not supported: rows of threads and runs are not encrypted")
    key = environ.get(AES_KEY, "").encode()
    if not key:
        return serde
    if len(key) not in _LENGTHS:
        raise Refused(f"{AES_KEY} has {len(key)} bytes; it must have 16, 24 or 32")
    try:
        return EncryptedSerializer.from_pycryptodome_aes(serde, key=key)
    except ImportError as error:
        remedy = "pip install 'bedplate[encryption]'"
        raise Refused(f"{AES_KEY} needs pycryptodome: {remedy}") from error


def is_encrypting(serde: SerializerProtocol) -> bool:
    return isinstance(serde, EncryptedSerializer)


class Seals:
    """The blob handlers of a `langgraph_sdk.Encryption`, around what the serializer makes.

    They get a context of model `checkpoint` without metadata. What they raise ends the run, or the
    read, with their words.
    """

    def __init__(
        self,
        encrypt: Callable[[Any, bytes], Awaitable[bytes]],
        decrypt: Callable[[Any, bytes], Awaitable[Any]],
        context: Callable[[], Any],
    ) -> None:
        self._encrypt = encrypt
        self._decrypt = decrypt
        self._context = context
        self._has_warned = False

    async def sealed(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """Rows of blobs or writes, encrypted."""
        blobs = await _each(self._seal, [row.blob or b"" for row in rows])
        return tuple(
            row._replace(type=row.type + _MARK, blob=blob)
            for row, blob in zip(rows, blobs, strict=True)
        )

    async def opened(self, pairs: Sequence[tuple[str, bytes | None]]) -> list[tuple[str, bytes]]:
        """(type, blob) pairs as the serializer made them; those that are not sealed as they are."""
        return await _each(self._opened, pairs)

    async def opened_checkpoint(self, stored: Stored) -> Stored:
        """A copy of `stored` for `decode`."""
        channels, places = list(stored.blobs), list(stored.writes)
        pairs = [stored.blobs[channel][1:] for channel in channels]
        pairs += [(stored.writes[place].type, stored.writes[place].blob) for place in places]
        found = await self.opened(pairs)
        blobs = {
            channel: (stored.blobs[channel][0], *pair)
            for channel, pair in zip(channels, found, strict=False)
        }
        writes = {
            place: replace(stored.writes[place], type=type_, blob=blob)
            for place, (type_, blob) in zip(places, found[len(channels) :], strict=True)
        }
        return replace(stored, blobs=blobs, writes=writes)

    async def opened_records(self, records: Sequence[Any]) -> list[dict[str, Any]]:
        """Rows of a query with `type` and `blob`, of which both may be null."""
        found = await self.opened([(row["type"] or "", row["blob"]) for row in records])
        return [
            dict(row) if row["type"] is None else {**dict(row), "type": type_, "blob": blob}
            for row, (type_, blob) in zip(records, found, strict=True)
        ]

    async def _seal(self, blob: bytes) -> bytes:
        return _bytes(await self._encrypt(self._context(), blob), "encrypt.blob")

    async def _opened(self, pair: tuple[str, bytes | None]) -> tuple[str, bytes]:
        type_, blob = pair
        if not type_.endswith(_MARK):
            return type_, blob or b""
        found = await self._decrypt(self._context(), blob or b"")
        if (plaintext := getattr(found, "plaintext", None)) is not None:
            if getattr(found, "replacement", None) is not None and not self._has_warned:
                self._has_warned = True
                log.warning("encryption.replacement_ignored", why="checkpoints are written once")
            found = plaintext
        return type_.removesuffix(_MARK), _bytes(found, "decrypt.blob")


def own_seals(block: Any, project: ProjectConfig) -> Seals | None:
    """What the block `encryption` asks for. Raises `Refused` for what would leave more unencrypted
    than it says, with the user's traceback as `trace`."""
    if not isinstance(block, dict):
        raise Refused("encryption: must be an object")
    given = cast("dict[str, Any]", block)
    if unknown := sorted(given.keys() - {"path"}):
        raise Refused(f"encryption.{unknown[0]}: there is no such key")
    text = given.get("path")
    if text is None:
        return None
    if not isinstance(text, str):
        raise Refused(f"{_PATH}: must be a text")
    from langgraph_sdk import Encryption, EncryptionContext

    reference = reference_of(text, _PATH, project.path)
    found: Any = load(reference, folder=project.folder, paths=project.import_paths)
    if not isinstance(found, Encryption):
        raise Refused(f"'{_PATH}' is {text!r}, which is no langgraph_sdk.Encryption")
    unsupported = [name for field, name in _UNSUPPORTED.items() if getattr(found, field)]
    if unsupported:
        raise Refused(
            f"'{_PATH}' is {text!r}, which has handlers for {', '.join(unsupported)}: this server"
            " encrypts checkpoints only, and what they are for would stay readable"
        )
    encrypt: Any = getattr(found, "_blob_encryptor")  # noqa: B009
    decrypt: Any = getattr(found, "_blob_decryptor")  # noqa: B009
    if encrypt is None or decrypt is None:
        missing = "encrypt.blob" if encrypt is None else "decrypt.blob"
        raise Refused(f"'{_PATH}' is {text!r}, which has no handler for {missing}")
    return Seals(encrypt, decrypt, lambda: EncryptionContext(model="checkpoint"))


Given = TypeVar("Given")
Made = TypeVar("Made")


async def _each(work: Callable[[Given], Awaitable[Made]], given: Sequence[Given]) -> list[Made]:
    """`work` on each, some at a time, in their order."""
    turns = asyncio.Semaphore(_AT_ONCE_MAX)

    async def turn(one: Given) -> Made:
        async with turns:
            return await work(one)

    return list(await asyncio.gather(*(turn(one) for one in given)))


def _bytes(found: Any, handler: str) -> bytes:
    if not isinstance(found, bytes | bytearray | memoryview):
        raise TypeError(f"{handler} answered {type(found).__name__}, not bytes")
    return bytes(found)
