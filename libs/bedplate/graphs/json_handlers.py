"""Who seals JSON: a project's own handlers, or the built-in ones with `LANGGRAPH_AES_JSON_KEYS`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import structlog
from langgraph.checkpoint.serde.base import CipherProtocol
from pydantic_core import from_json, to_json

from bedplate.graphs.sealing import Object, Place
from bedplate.kernel.errors import BedplateError, HandlerFailed

log = structlog.get_logger(__name__)

HANDLER_S_MAX = 30.0
_CIPHER = "aes"
Handler = Callable[[Any, Object], Awaitable[Any]]
MadeContext = Callable[[Place], Any]


class OwnHandlers:
    """`encrypt.json` and `decrypt.json` of a `langgraph_sdk.Encryption`."""

    is_prompt = False

    def __init__(self, encrypt: Handler, decrypt: Handler, context: MadeContext) -> None:
        self._encrypt = encrypt
        self._decrypt = decrypt
        self._context = context
        self._has_warned = False

    def leaves(self, text: str) -> bool:
        """Only they know what they encrypt."""
        del text
        return False

    async def encrypt(self, place: Place, given: Object) -> Any:
        """Raises `HandlerFailed`."""
        return await _asked("encrypt.json", self._encrypt, self._context(place), given)

    async def decrypt(self, place: Place, given: Object, sealed: Sequence[str]) -> Any:
        """Raises `HandlerFailed`."""
        del sealed
        found = await _asked("decrypt.json", self._decrypt, self._context(place), given)
        if isinstance(found, Mapping) or not hasattr(found, "plaintext"):
            return cast("Any", found)
        if getattr(found, "replacement", None) is not None and not self._has_warned:
            self._has_warned = True
            log.warning("encryption.replacement_ignored", why="what is read is not written")
        return found.plaintext


class AesHandlers:
    """Values of these keys, sealed with AES-EAX: without the key they can be neither read nor
    exchanged for others. `keys` none: what was sealed is opened."""

    is_prompt = True

    def __init__(self, cipher: CipherProtocol, keys: Sequence[str]) -> None:
        self._cipher = cipher
        self._keys = frozenset(keys)
        # As they may be spelt in JSON.
        self._spellings = {to_json(key).decode() for key in keys} | {*map(json.dumps, keys)}

    def leaves(self, text: str) -> bool:
        return not any(spelling in text for spelling in self._spellings)

    async def encrypt(self, place: Place, given: Object) -> Object:
        del place
        return {
            name: self._sealed(name, value) if name in self._keys and value is not None else value
            for name, value in given.items()
        }

    async def decrypt(self, place: Place, given: Object, sealed: Sequence[str]) -> Object:
        """Raises `HandlerFailed` for what another key has sealed, or somebody has changed."""
        try:
            return given | {name: self._opened(name, given[name]) for name in sealed}
        except (ValueError, TypeError, binascii.Error) as error:
            log.warning("encryption.wrong_key", place=place.name)
            raise HandlerFailed(
                f"{place.name} cannot be decrypted: LANGGRAPH_AES_KEY is another one"
            ) from error

    def _sealed(self, name: str, value: Any) -> str:
        # A value that is moved to another key is not one that was sealed for it.
        _, sealed = self._cipher.encrypt(to_json([name, value], inf_nan_mode="null"))
        return base64.b64encode(sealed).decode()

    def _opened(self, name: str, sealed: str) -> Any:
        own_name, value = from_json(
            self._cipher.decrypt(_CIPHER, base64.b64decode(sealed, validate=True))
        )
        if own_name != name:
            raise ValueError("it was sealed for another key")
        return value


async def _asked(name: str, handler: Handler, context: Any, given: Any) -> Any:
    try:
        async with asyncio.timeout(HANDLER_S_MAX):
            return await handler(context, given)
    except Exception as error:
        raise failed(error, name) from error


def failed(error: Exception, handler: str) -> BedplateError:
    """What the project's code raised, for whoever asked: its words only where they are meant as an
    answer."""
    if isinstance(error, BedplateError):
        return error
    # By name: starlette's and the SDK's, neither of which has to be installed.
    if any(kind.__name__ == "HTTPException" for kind in type(error).__mro__):
        told: Any = error
        status = int(getattr(told, "status_code", 500))
        return HandlerFailed(
            str(getattr(told, "detail", "") or f"{handler} failed"),
            status=status if 400 <= status < 600 else 500,
            headers=getattr(told, "headers", None),
        )
    log.error("encryption.failed", handler=handler, exc_info=error)
    return HandlerFailed(f"{handler} failed")
