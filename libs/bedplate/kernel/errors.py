"""What can go wrong, sorted by what the caller can do about it.

The docstring of a class is its public message when it is raised without one. Ids are attributes, so
that a rim (HTTP, the bus) can show them without parsing text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class BedplateError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None, **ids: Any) -> None:
        text = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(text)
        self.message = text
        self.ids = ids


class Refused(BedplateError):
    """The request cannot be accepted as it is: mend it and send it again."""


class TooLarge(Refused):
    """The request is larger than this server accepts."""


class NotFound(BedplateError):
    """There is no such thing, or it is not yours."""


class Conflict(BedplateError):
    """The thing is in a state that does not allow this now."""


class Unavailable(BedplateError):
    """This cannot be served at the moment: try again."""

    def __init__(self, message: str | None = None, *, retry_s: float = 1.0, **ids: Any) -> None:
        super().__init__(message, **ids)
        self.retry_s = retry_s


class HandlerFailed(BedplateError):
    """A handler of the project failed."""

    _STATUS = 500

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int = _STATUS,
        headers: Mapping[str, str] | None = None,
        **ids: Any,
    ) -> None:
        """`status` and `headers`: what a client is answered with, as the handler asks for it."""
        # Among the ids, so that it comes along over the bus.
        told = {} if status == self._STATUS else {"status": status}
        super().__init__(message, **told, **ids)
        self.status = status
        self.headers = dict(headers or {})


class Fenced(BedplateError):
    """This attempt no longer holds its run: what it writes is refused.

    Raised in the middle of a graph by anything that writes for an attempt (checkpoints, events). It
    is never an answer to a client: the attempt stops without a word, because another one owns the
    run.
    """
