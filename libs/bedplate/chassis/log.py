"""The log: one JSON object per line on stderr, or lines for people on a terminal.

Every record has `at` (UTC, ISO 8601), `level`, `event` (a constant `noun.participle`), `service`
and `pid`; whatever was bound with `bound(run_id=…)` in this task or its parents; then the fields of
the call. What others write with the standard library's `logging` arrives as the event
`library.logged` with its text in `message`: from installed packages at WARNING and above, from
users' own code at INFO and above.

`log = get_logger()` is free at import: nothing is assembled before the first record, and a record
below the level costs one call that does nothing.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from structlog.contextvars import bound_contextvars as bound
from structlog.contextvars import merge_contextvars
from structlog.typing import FilteringBoundLogger

__all__ = ["bound", "configure", "get_logger"]

Event = MutableMapping[str, Any]
Processor = Callable[[Any, str, Event], Any]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_LEADING = ("at", "level", "event", "service", "pid")
_WHOLE = (*_LEADING, "traceback")
# A traceback of user code can be endless (recursion); its end says what happened.
_TRACEBACK_CHARS_MAX = 16_384
# An exception may carry the whole answer of a model, or a database: whoever ships log lines cuts or
# drops one of a megabyte, and with it what else it says.
_TEXT_CHARS_MAX = 4_096
_LINE_CHARS_MAX = 65_536
_COLORS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31"}
_encoder = json.JSONEncoder(default=str, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_INSTALLED = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def get_logger() -> FilteringBoundLogger:
    """A logger for a module; follows whatever `configure` says, before or after."""
    return cast("FilteringBoundLogger", structlog.get_logger())


def configure(
    service: str, *, level: str = "info", form: str = "auto", is_final: bool = True
) -> None:
    """Set up the log of this process; `form` is json, pretty or auto (pretty on a terminal).

    Once `is_final`, loggers are assembled once and keep their set-up.
    """
    is_terminal = sys.stderr.isatty()
    is_pretty = form == "pretty" or (form == "auto" and is_terminal)
    chain: list[Processor] = [
        cast("Processor", merge_contextvars),
        _Stamp(service),
        _explained,
        _bounded,
        _pretty(is_terminal and "NO_COLOR" not in os.environ) if is_pretty else _as_json,
    ]
    severity = _LEVELS[level]
    structlog.configure(
        processors=cast("Any", chain),
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=is_final,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Adopting(chain, max(severity, logging.INFO))]
    root.setLevel(max(severity, logging.INFO))
    logging.captureWarnings(True)


class _Stamp:
    """When, how severe, who. Also puts these first, so that a column of raw lines can be read."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: Any, method: str, event: Event) -> Event:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = event.pop("level", "error" if method == "exception" else method)
        return {
            "at": at,
            "level": level,
            "event": event.pop("event"),
            "service": self._service,
            # Asked each time: a forked worker inherits this object.
            "pid": os.getpid(),
            **event,
        }


def _explained(_logger: Any, _method: str, event: Event) -> Event:
    """Turn `exc_info` into `error` (type and text) and `traceback`, without values of variables."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()[1]
    elif isinstance(given, tuple):
        given = cast("tuple[Any, ...]", given)[1]
    if isinstance(given, BaseException):
        event["error"] = f"{type(given).__name__}: {_said(given)}".removesuffix(": ")
        # Each entry by itself first: else a long text at the end would be all that is left.
        entries = [_cut(entry) for entry in traceback.format_exception(given)]
        event["traceback"] = "".join(entries)[-_TRACEBACK_CHARS_MAX:]
    return event


def _bounded(_logger: Any, _method: str, event: Event) -> Event:
    """No text of a caller makes the line endless."""
    for key, value in event.items():
        if isinstance(value, str) and key != "traceback":
            event[key] = _cut(value)
    return event


def _cut(text: str) -> str:
    if len(text) <= _TEXT_CHARS_MAX:
        return text
    end = "\n" if text.endswith("\n") else ""
    return f"{text[:_TEXT_CHARS_MAX]}… ({len(text)} characters){end}"


def _said(error: BaseException) -> str:
    """An exception of user code may raise another one when it is printed; the log must not."""
    try:
        return str(error)
    except Exception:
        return "(cannot be printed)"


def _as_json(_logger: Any, _method: str, event: Event) -> str:
    try:
        line = _encoder.encode(event)
    except (TypeError, ValueError):
        # An odd key, NaN, a cycle: a log line must neither break its writer nor its reader.
        line = ""
    if 0 < len(line) <= _LINE_CHARS_MAX:
        return line
    shown = {str(key): value if key in _WHOLE else _cut(str(value)) for key, value in event.items()}
    return _encoder.encode(shown)


def _pretty(has_colors: bool) -> Processor:
    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if has_colors else text

    def render(_logger: Any, _method: str, event: Event) -> str:
        level = str(event["level"])
        head = " ".join(
            (
                paint(str(event["at"])[11:23], "2"),
                paint(f"{level:<7}", _COLORS.get(level, "0")),
                paint(f"{event['service']:<13}", "36"),
                paint(str(event["event"]), "1"),
            )
        )
        trace = event.get("traceback")
        rest = {
            key: value for key, value in event.items() if key not in _LEADING and key != "traceback"
        }
        fields = " ".join(f"{paint(key + '=', '2')}{value}" for key, value in rest.items())
        line = f"{head}  {fields}".rstrip()
        return f"{line}\n{str(trace).rstrip()}" if trace else line

    return render


class _Adopting(logging.Handler):
    """Brings the standard library's records into our log."""

    def __init__(self, chain: list[Processor], level: int) -> None:
        super().__init__(level)
        self._chain = chain

    def emit(self, record: logging.LogRecord) -> None:
        # By the file that logged, not by a list of names: nobody can list all libraries of users'
        # projects.
        if record.levelno < logging.WARNING and record.pathname.startswith(_INSTALLED):
            return
        try:
            event: Any = {
                "event": "library.logged",
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": record.getMessage(),
                "exc_info": record.exc_info,
            }
            for processor in self._chain:
                event = processor(None, "info", event)
            sys.stderr.write(event + "\n")
        except Exception:
            self.handleError(record)
