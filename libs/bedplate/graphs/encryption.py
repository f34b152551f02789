"""What a project says about encryption: a key, or handlers of its own.

With `LANGGRAPH_AES_KEY` every value of a checkpoint and every pending write is encrypted with
AES-EAX, in the format of LangGraph's `EncryptedSerializer`: the stock saver with the same key reads
it; `LANGGRAPH_AES_JSON_KEYS` names what of the rows is too. With `encryption.path` the project's
own handlers do it, see `seals` (checkpoints) and `sealing` (rows). Either way what was stored
before stays readable: the key opens what it has sealed, also where the project has handlers by now.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from langgraph.checkpoint.serde.base import CipherProtocol, SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from bedplate.graphs.config import ProjectConfig, reference_of
from bedplate.graphs.json_handlers import AesHandlers, OwnHandlers
from bedplate.graphs.loading import load
from bedplate.graphs.project import Project
from bedplate.graphs.sealing import (
    AES,
    AES_KEY,
    MERGED_KEYS,
    OWN,
    SYSTEM_KEYS,
    Handlers,
    Place,
    Sealing,
    is_system_key,
)
from bedplate.graphs.seals import Seals
from bedplate.graphs.serde import strict_serde
from bedplate.kernel.errors import Refused

JSON_KEYS = "LANGGRAPH_AES_JSON_KEYS"
_LENGTHS = (16, 24, 32)
PATH = "encryption.path"
_EXTRA = "pip install 'bedplate[encryption]'"


@dataclass(frozen=True)
class OwnEncryption:
    """What a project's `langgraph_sdk.Encryption` has handlers for: pairs to encrypt and to
    decrypt, and what makes a context of who asks."""

    blob: tuple[Any, Any] | None
    json: tuple[Any, Any] | None
    context: Any

    def seals(self, cipher: CipherProtocol | None) -> Seals | None:
        """For checkpoints; `cipher` opens what a key has encrypted before."""
        if self.blob is None:
            return None
        return Seals(
            *self.blob,
            lambda metadata: encryption_context("checkpoint", None, metadata),
            cipher=cipher,
        )


# -- the key


def aes_serde(serde: SerializerProtocol, environ: Mapping[str, str]) -> SerializerProtocol:
    """`serde`, encrypting where `environ` has a key. Raises `Refused`, never with the key."""
    return _encrypting(serde, environ) or serde


def is_encrypting(serde: SerializerProtocol) -> bool:
    return isinstance(serde, EncryptedSerializer)


def aes_cipher(environ: Mapping[str, str]) -> CipherProtocol | None:
    """None without a key. Raises as `aes_serde` does."""
    encrypting = _encrypting(strict_serde(), environ)
    return None if encrypting is None else encrypting.cipher


def _encrypting(
    serde: SerializerProtocol, environ: Mapping[str, str]
) -> EncryptedSerializer | None:
    """None without a key."""
    key = environ.get(AES_KEY, "").encode()
    if not key:
        return None
    if len(key) not in _LENGTHS:
        raise Refused(f"{AES_KEY} has {len(key)} bytes; it must have 16, 24 or 32")
    try:
        return EncryptedSerializer.from_pycryptodome_aes(serde, key=key)
    except ImportError as error:
        raise Refused(f"{AES_KEY} needs pycryptodome: {_EXTRA}") from error


# -- rows


def sealing_of(own: OwnEncryption | None, environ: Mapping[str, str]) -> Sealing | None:
    """Who seals rows, and who opens them; None: nobody does. Raises `Refused`."""
    cipher, names = aes_cipher(environ), _json_keys(environ)
    if names and cipher is None:
        raise Refused(f"{JSON_KEYS} needs {AES_KEY}: without it nothing is encrypted")
    handlers: dict[str, Handlers] = {}
    if cipher is not None:
        handlers[AES] = AesHandlers(cipher, names)
    sealer = AES if names else None
    if own is not None and own.json is not None:
        handlers[OWN] = OwnHandlers(*own.json, _context_at)
        sealer = OWN
    return Sealing(handlers, sealer=sealer) if handlers else None


def _json_keys(environ: Mapping[str, str]) -> list[str]:
    names = [name.strip() for name in environ.get(JSON_KEYS, "").split(",")]
    for name in names:
        if name in SYSTEM_KEYS or is_system_key(name):
            raise Refused(f"{JSON_KEYS} names {name!r}: the server itself has to read it")
        if name in MERGED_KEYS:
            raise Refused(
                f"{JSON_KEYS} names {name!r}, which is merged key by key: name keys in it"
            )
    return [name for name in names if name]


# -- the project's handlers


def given_path(block: Any) -> str | None:
    """Where the block `encryption` says that the handlers are. Raises `Refused`."""
    if not isinstance(block, dict):
        raise Refused("encryption: must be an object")
    given = cast("dict[str, Any]", block)
    if unknown := sorted(given.keys() - {"path"}):
        raise Refused(f"encryption.{unknown[0]}: there is no such key")
    text = given.get("path")
    if text is not None and not isinstance(text, str):
        raise Refused(f"{PATH}: must be a text")
    return text


def own_encryption(block: Any, project: ProjectConfig) -> OwnEncryption | None:
    """What the block `encryption` asks for. Raises `Refused`, with the user's traceback as
    `trace`."""
    text = given_path(block)
    if text is None:
        return None
    reference = reference_of(text, PATH, project.path)
    with _without_the_notice():
        found: Any = load(reference, folder=project.folder, paths=project.import_paths)
    try:
        return handlers_of(found)
    except Refused as error:
        raise Refused(f"'{PATH}' is {text!r}: {error.message}") from error


def own_handlers(project: Project) -> OwnEncryption | None:
    """The same for a service that runs no graph."""
    text = given_path(project.blocks.encryption or {})
    if text is None:
        return None
    with _without_the_notice():
        return project.loaded(PATH, text, handlers_of)


@contextmanager
def _without_the_notice() -> Generator[None]:
    """That the SDK calls this part of it a beta is of no use to an operator."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The Encryption API is in beta")
        yield


def handlers_of(found: Any) -> OwnEncryption:
    """Raises `Refused` for what is no such object, or would leave something that cannot be read."""
    from langgraph_sdk import Encryption

    if not isinstance(found, Encryption):
        raise Refused(f"it is a {type(found).__name__}; it must be a langgraph_sdk.Encryption")
    # The library keeps these names for servers.
    kept: Any = found
    pairs: dict[str, tuple[Any, Any] | None] = {}
    for kind in ("blob", "json"):
        pair = (getattr(kept, f"_{kind}_encryptor"), getattr(kept, f"_{kind}_decryptor"))
        if (pair[0] is None) is not (pair[1] is None):
            missing = "encrypt" if pair[0] is None else "decrypt"
            raise Refused(f"it has no handler for {missing}.{kind}")
        pairs[kind] = None if pair[0] is None else pair
    if pairs["blob"] is None and pairs["json"] is None:
        raise Refused("it has handlers neither for blobs nor for JSON")
    return OwnEncryption(pairs["blob"], pairs["json"], kept._context_handler)


def encryption_context(model: str | None, field: str | None, metadata: Mapping[str, Any]) -> Any:
    """A handler's first argument."""
    from langgraph_sdk import EncryptionContext

    return EncryptionContext(model=model, metadata=dict(metadata), field=field)


def _context_at(place: Place) -> Any:
    return encryption_context(place.model, place.field, place.metadata)
