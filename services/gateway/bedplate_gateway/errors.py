"""The errors of this service, beside the shared ones of `bedplate.kernel.errors`."""

from __future__ import annotations

from collections.abc import Mapping

from bedplate.kernel.errors import BedplateError, Refused


class Unsupported(Refused):
    """This server is set up in a way that cannot answer that."""


class Unprocessable(Refused):
    """The request is not of the form this endpoint takes."""


class Denied(BedplateError):
    """Forbidden"""

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int = 403,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        # A handler that says no with a status of success still says no.
        self.status = status if 400 <= status < 600 else 403
        self.headers = dict(headers or {})
