"""The project's own code, as far as the gateway runs it: `auth.path` and `http.app`, no graph."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from bedplate.backbone import BackboneSettings
from bedplate.chassis.errors import ConfigurationError
from bedplate.graphs.config import FILE_NAME, WHOLE, Blocks, import_paths_of, reference_of
from bedplate.graphs.loading import NotLoadable, load, put_first
from bedplate.kernel.errors import Refused

T = TypeVar("T")


class ProjectSettings(BackboneSettings):
    """What an operator may say about the project's own code in the gateway."""

    config: Path | None = Field(
        None,
        description="The project's langgraph.json, for its blocks but those of graphs.",
        json_schema_extra={"env": ["LANGGRAPH_CONFIG_PATH"]},
    )
    mount_prefix: str = Field(
        "",
        description="Path below which the API is served, instead of `http.mount_prefix`.",
        json_schema_extra={"env": ["MOUNT_PREFIX"]},
    )
    cors_config: str = Field(
        "",
        description="JSON that counts instead of the block `http.cors`.",
        json_schema_extra={"env": ["CORS_CONFIG"]},
    )
    cors_origins: list[str] | None = Field(
        None,
        description="Origins whose pages may call the API, instead of those of `http.cors`; all, if"
        " neither names any.",
        json_schema_extra={"env": ["CORS_ALLOW_ORIGINS"]},
    )
    allow_private_network: bool = Field(
        False,
        description="Let pages of public addresses call this one on a private network.",
        json_schema_extra={"env": ["ALLOW_PRIVATE_NETWORK"]},
    )
    auth_s_max: float = Field(
        30.0, gt=0, le=600, description="Seconds the project's authentication may take."
    )
    studio_auth: bool = Field(
        False,
        description="Let in whoever sends `x-auth-scheme: langsmith`, as the Studio user and"
        " without a token; for development only.",
    )


class Project:
    """`file` is the `langgraph.json`, or None where the blocks come from variables alone."""

    def __init__(self, file: Path | None, blocks: Blocks) -> None:
        self.blocks = blocks
        self._file = (Path.cwd() if file is None else file).absolute()
        if self._file.is_dir():
            self._file /= FILE_NAME
        # An image may bring the whole file as a variable instead.
        self._has_document = file is not None or bool(os.environ.get(WHOLE, "").strip())
        self._paths: tuple[Path, ...] | None = None

    def loaded(self, key: str, text: str, made: Callable[[Any], T]) -> T:
        """What `made` makes of the object that stands under `key`. Changes this process: its
        environment and its import path. Raises `ConfigurationError` with the user's traceback."""
        try:
            reference = reference_of(text, key, self._file)
            paths = self._import_paths()
            found = load(reference, folder=self._file.parent, paths=paths)
        except NotLoadable as error:
            told = f"'{key}' cannot be loaded: {error.problem}.\n\n{error.trace}".rstrip()
            raise ConfigurationError(told) from error
        except Refused as error:
            raise ConfigurationError(error.message) from error
        try:
            return made(found)
        except Refused as error:
            raise ConfigurationError(f"'{key}' is {text!r}: {error.message}") from error

    def _import_paths(self) -> tuple[Path, ...]:
        if self._paths is None:
            folder = self._file.parent
            self._paths = import_paths_of(self._file) if self._has_document else (folder,)
            for name, value in self.blocks.env.items():
                os.environ.setdefault(name, value)
            put_first(self._paths)
        return self._paths
