"""What can stop the devstack from starting. A person reads it, so each message says what to do."""

from __future__ import annotations

from bedplate.kernel.errors import BedplateError, Conflict, Refused, Unavailable


class ServerMissing(Unavailable):
    """A server program was not found."""


class ServerTooOld(Unavailable):
    """A server is older than the oldest version that works."""


class ServerUnreachable(Unavailable):
    """A server given by its URL does not answer."""


class ServerFailed(Unavailable):
    """A server did not start."""


class DataDirectoryInUse(Conflict):
    """Another process works in this data directory."""


class DataDirectoryUnusable(Conflict):
    """The data directory cannot be used as it is."""


class PortTaken(Conflict):
    """The port that was asked for is taken."""


class ServiceFailed(BedplateError):
    """A service did not become ready."""


class ConfigurationRefused(Refused):
    """A service cannot work with what it was given: its settings, or the project."""
