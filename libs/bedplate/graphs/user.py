"""Who a run is for, as graphs and authorization handlers know them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class User:
    """The authenticated user as graphs know it: an object with `identity`, and a mapping beside.

    Source: `langgraph_sdk.auth.types.BaseUser`; `Runtime.server_info.user` takes no plain dict.
    """

    def __init__(self, fields_: Mapping[str, Any]) -> None:
        self._fields = dict(fields_)

    @property
    def identity(self) -> str:
        return str(self._fields["identity"])

    @property
    def display_name(self) -> str:
        return str(self._fields.get("display_name") or self.identity)

    @property
    def is_authenticated(self) -> bool:
        return bool(self._fields.get("is_authenticated", True))

    @property
    def permissions(self) -> Sequence[str]:
        return list(self._fields.get("permissions") or ())

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __contains__(self, key: object) -> bool:
        return key in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __repr__(self) -> str:
        # Not the fields: a user may carry tokens, and a repr ends up in logs and streams.
        return f"User(identity={self.identity!r})"
