"""Exit codes, and errors as a person should see them: what is wrong, what to do, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

import click

from bedplate.kernel.errors import BedplateError, Refused, Unavailable

FAILED = 1
UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
CONFIGURATION = 78  # EX_CONFIG of sysexits.h


@contextmanager
def explained() -> Generator[None]:
    """End the process with the message and the code of an error that was foreseen.

    What was not foreseen keeps its traceback: it is a defect of ours.
    """
    try:
        yield
    except BedplateError as error:
        click.echo(f"bedplate: {error.message}", err=True)
        sys.exit(code_of(error))


def code_of(error: BedplateError) -> int:
    if isinstance(error, Unavailable):
        return UNAVAILABLE
    return CONFIGURATION if isinstance(error, Refused) else FAILED
