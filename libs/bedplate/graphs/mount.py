"""`http.mount_prefix`: the path below which the API is served. Whoever calls it needs it too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from bedplate.graphs.config import given_blocks, parsed_block
from bedplate.kernel.errors import Refused

VARIABLE = "MOUNT_PREFIX"
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def _prefix(text: str) -> str:
    """`/api`, without a slash at its end."""
    trimmed = text.strip().rstrip("/")
    if not _PREFIX.fullmatch(trimmed):
        raise ValueError("must be a path like /api")
    return trimmed


MountPrefix = Annotated[str, AfterValidator(_prefix)]


class _Mounted(BaseModel):
    model_config = ConfigDict(extra="ignore")

    mount_prefix: MountPrefix = ""


def prefix_of(text: str) -> str:
    """Of the variable's value. Raises Refused."""
    try:
        return _prefix(text)
    except ValueError as error:
        raise Refused(f"{VARIABLE} is {text!r}: {error}") from error


def mount_prefix(config: Path | None, environ: Mapping[str, str]) -> str:
    """Where the API of the project `config` is served; empty: at the root. Raises Refused."""
    if text := environ.get(VARIABLE, "").strip():
        return prefix_of(text)
    return parsed_block("http", given_blocks(config, environ).http or {}, _Mounted).mount_prefix
