"""Who calls: what `authenticate` answered, as handlers, runs and rows need it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from bedplate.graphs.user import User

IDENTITY_CHARS_MAX = 256
_OF_PROTOCOL = ("identity", "display_name", "is_authenticated", "permissions")


class Unusable(ValueError):
    """`authenticate` answered what is no user."""


@dataclass(frozen=True)
class Caller:
    """`user` is what handlers get; `fields` are what of it is JSON, and what graphs get."""

    user: Any
    fields: Mapping[str, Any]

    @property
    def identity(self) -> str:
        return self.fields["identity"]

    @property
    def permissions(self) -> list[str]:
        return self.fields["permissions"]

    def carried(self) -> str:
        """What an order or a row carries (`CreateRun.user`, `GraphAsk.user`, a cron); an executor
        makes the graph's user of it, and `restored` the caller."""
        return to_json(self.fields).decode()

    def configurable(self) -> dict[str, Any]:
        """What of them a run's `configurable` shows to everybody. The fields are not among it: a
        user may carry tokens, and whoever may read a thread reads its runs."""
        return {
            "langgraph_auth_user_id": self.identity,
            "langgraph_auth_permissions": self.permissions,
            "user_id": self.identity,
        }


def restored(carried: str) -> Caller:
    """The caller that a row carries."""
    fields = cast("dict[str, Any]", from_json(carried))
    return Caller(User(fields), fields)


def caller_of(answer: Any) -> Caller:
    """Of a text, a mapping, an object with `identity`, or (permissions, any of these). Raises
    `Unusable`."""
    permissions: Any = None
    if isinstance(answer, tuple):
        pair = cast("tuple[Any, ...]", answer)
        if len(pair) != 2:
            raise Unusable("a tuple must be (permissions, user)")
        permissions, answer = pair
    told = _fields_of(answer)
    fields = _plain(told)
    if permissions is not None:
        fields["permissions"] = permissions
    fields["identity"] = _identity(fields.get("identity"))
    fields["permissions"] = _permissions(fields.get("permissions"))
    fields.setdefault("display_name", fields["identity"])
    fields.setdefault("is_authenticated", True)
    return Caller(_AsGiven({**told, **fields}, answer), fields)


class _AsGiven(User):
    """A user whose attributes are also those of the object `authenticate` answered."""

    def __init__(self, fields: Mapping[str, Any], given: Any) -> None:
        super().__init__(fields)
        self._given = given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._given, name)


def _fields_of(answer: Any) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"identity": answer}
    if isinstance(answer, Mapping):
        return {str(key): value for key, value in cast("Mapping[Any, Any]", answer).items()}
    if isinstance(answer, BaseModel):
        found: dict[str, Any] = dict(answer)
    elif dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        names = [field.name for field in dataclasses.fields(answer)]
        found = {name: getattr(answer, name) for name in names}
    else:
        found = {k: v for k, v in getattr(answer, "__dict__", {}).items() if k[:1] != "_"}
    # Properties are not among an object's own attributes.
    return found | {name: getattr(answer, name) for name in _OF_PROTOCOL if hasattr(answer, name)}


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What of it is JSON that PostgreSQL can keep; the rest stays with the handlers."""
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        try:
            text = to_json({key: value})
        except (ValueError, TypeError):
            continue
        if b"\\u0000" not in text:
            kept |= from_json(text)
    return kept


def _identity(given: Any) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= IDENTITY_CHARS_MAX:
        raise Unusable(f"identity must be a text of 1 to {IDENTITY_CHARS_MAX} characters")
    return given


def _permissions(given: Any) -> list[str]:
    if given is None:
        return []
    if isinstance(given, Sequence) and not isinstance(given, str):
        texts = cast("Sequence[Any]", given)
        if all(isinstance(text, str) for text in texts):
            return list(texts)
    raise Unusable("permissions must be a list of texts")
