"""How a run ended, cut out of its `end` event or read from its row, and what waiters are told."""

from __future__ import annotations

from dataclasses import dataclass

from bedplate_proto.vocabulary import RunStatus

_STATUS = b'{"status":"'
_VALUES_N = b',"values_n":'
_ERROR = b',"error":'
# An unescaped quote cannot occur in a JSON text's strings, and an error has no member of this name:
# the first place where this stands is between the error and the values.
_VALUES = b',"values":'
_FAILED = (RunStatus.ERROR, RunStatus.TIMEOUT)


@dataclass(frozen=True)
class Ending:
    """`error` and `values` are JSON texts; None where there is none. `values_n`: the values are
    those of the run's event with this number."""

    status: RunStatus
    error: bytes | None
    values: bytes | None
    values_n: int | None = None

    @property
    def is_failure(self) -> bool:
        return self.status in _FAILED


def ending_of(data: bytes) -> Ending:
    """The data of an `end` event, as `bus.event_line.end_of` writes it."""
    error_at = data.index(_ERROR)
    values_at = data.index(_VALUES, error_at)
    _, _, values_n = data[:error_at].rpartition(_VALUES_N)
    return Ending(
        status=RunStatus(data[len(_STATUS) : data.index(b'"', len(_STATUS))].decode()),
        error=_or_none(data[error_at + len(_ERROR) : values_at]),
        values=_or_none(data[values_at + len(_VALUES) : -1]),
        values_n=int(values_n) if values_n.isdigit() else None,
    )


def failure(error: bytes | None) -> bytes:
    """What a waiter gets for a run that failed."""
    return b'{"__error__":%b}' % (error or b'{"error":"Error","message":"the run failed"}')


def _or_none(text: bytes) -> bytes | None:
    return None if text == b"null" else text
