"""Commands in, answers out: one JSON object each (contract streaming.md 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from bedplate.kernel.errors import BedplateError, Refused

from ..errors import Unprocessable
from ..forms import Object
from ..json_text import dumped, parsed

Code = Literal[
    "invalid_argument", "unknown_command", "unknown_error", "no_such_run", "no_such_subscription",
    "no_such_namespace", "no_such_interrupt", "no_such_checkpoint", "permission_denied",
    "not_supported",
]  # fmt: skip


class Failed(BedplateError):
    """The command failed."""

    def __init__(self, code: Code, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code: Code = code
        self.more = more


@dataclass(frozen=True)
class Command:
    id: int
    method: str
    params: Object


def command_of(text: bytes) -> Command:
    """Raises `Refused`, or `Failed` when only the params are wrong; then `id` is among its ids."""
    try:
        given = parsed(text)
    except Unprocessable as error:
        raise Refused(f"not a command: {error.message}") from error
    if not isinstance(given, dict):
        raise Refused("a command must be a JSON object")
    command = cast("Object", given)
    command_id, method = command.get("id"), command.get("method")
    if not isinstance(command_id, int) or isinstance(command_id, bool):
        raise Refused("id: must be an integer")
    if not isinstance(method, str):
        raise Refused("method: must be a text")
    params = command.get("params")
    return Command(command_id, method, params if params is not None else {})


def success(command: Command, result: Object, *, seq: int) -> bytes:
    about = {
        "type": "success",
        "id": command.id,
        "result": result,
        "meta": {"applied_through_seq": seq},
    }
    return dumped(about).encode()


def failure(
    command_id: int | None, code: Code, message: str, *, seq: int = 0, **more: Any
) -> bytes:
    """`command_id` None: about a frame that is no command, or about the connection."""
    about = {
        "type": "error",
        "id": command_id,
        "error": code,
        "message": message,
        **more,
        "meta": {"applied_through_seq": seq, **more},
    }
    return dumped(about).encode()
