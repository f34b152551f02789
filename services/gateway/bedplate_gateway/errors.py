"""The errors of this service, beside the shared ones of `bedplate.kernel.errors`."""

from __future__ import annotations

from bedplate.kernel.errors import Refused


class Unsupported(Refused):
    """This server is set up in a way that cannot answer that."""


class Unprocessable(Refused):
    """The request is not of the form this endpoint takes."""
