"""The side of the gateway that clients meet: its paths, behind the project's authentication."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bedplate.chassis.metrics import Metrics
from bedplate.graphs.config import given_blocks, json_variable, parsed_block
from bedplate.graphs.encryption import own_handlers, sealing_of
from bedplate.graphs.mount import prefix_of
from bedplate.graphs.project import Project

from .access.objects import Objects
from .acting import ActingRuns
from .assistants import Assistants
from .http.custom import Custom, custom_app
from .http.door import Admission
from .http.middleware import Answered
from .http.paths import Path, SocketPath
from .http.site import Encrypting, Guard, Site, Surroundings
from .http.system import SystemPaths
from .http_block import cors_options, http_block
from .rows import Rows
from .settings import Settings
from .system import System


class Front:
    """What the project and its operator say about it; raises `ConfigurationError` and `Refused`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.blocks = given_blocks(settings.config, os.environ)
        self.block = http_block(self.blocks.http)
        project = Project(settings.config, self.blocks)
        self.project = project
        self.encryption = own_handlers(project)
        self.sealing = sealing_of(self.encryption, self.blocks.env)
        self.custom: Custom | None = None
        if self.block.app is not None:
            self.custom = Custom(project.loaded("http.app", self.block.app, custom_app))

    @property
    def resources(self) -> list[Custom]:
        """What is to be open while it serves."""
        return [] if self.custom is None else [self.custom]

    def flags(self) -> dict[str, bool]:
        """Which groups of paths are there, for `/info`."""
        crons = self._settings.crons_enabled and self.block.serves("Crons")
        return {"assistants": self.block.serves("Assistants"), "crons": crons}

    def surroundings(
        self, metrics: Metrics, guard: Guard | None, acting: ActingRuns
    ) -> Surroundings:
        """What stands around the paths."""
        settings, block = self._settings, self.block
        return Surroundings(
            answered=Answered(metrics),
            cors=self._cors(),
            body_bytes_max=settings.body_bytes_max,
            guard=guard,
            encrypting=None if self.encryption is None else Encrypting(self.encryption, acting),
            custom=self.custom,
            block=block,
            prefix=prefix_of(settings.mount_prefix) or block.mount_prefix,
        )

    def site(
        self,
        paths: Sequence[Path],
        sockets: Sequence[SocketPath],
        *,
        about: System,
        metrics: Metrics,
        around: Surroundings,
    ) -> Site:
        block, guard = self.block, around.guard
        served = [path for path in paths if block.serves(path.tag)]
        system = SystemPaths(
            about,
            metrics,
            around.answered,
            served,
            security={} if guard is None else guard.openapi,
            custom=lambda: {} if self.custom is None else self.custom.document(),
            prefix=around.prefix,
        )
        table = system.table()
        if block.disable_meta:
            table = [replace(path, handler=system.bare_ok) for path in table if path.path == "/ok"]
        has_events = block.serves("Event streaming")
        return Site([*table, *served], sockets if has_events else (), around)

    def _cors(self) -> Mapping[str, Any]:
        settings = self._settings
        config = json_variable("CORS_CONFIG", {"CORS_CONFIG": settings.cors_config})
        return cors_options(
            self.block,
            config,
            settings.cors_origins,
            private_network=settings.allow_private_network,
        )


def guard_of(
    settings: Settings, front: Front, rows: Rows, assistants: Assistants, acting: ActingRuns
) -> Guard | None:
    """None: no `auth.path`, and so nothing that costs anything. Raises `ConfigurationError` for one
    that cannot be had."""
    blocks = front.blocks
    if not blocks.auth:
        return None
    # Not at the top: only projects with authentication need the SDK here.
    from .access.configured import AuthBlock, configured

    block = parsed_block("auth", blocks.auth, AuthBlock)
    if block.path is None:
        return None
    made = front.project.loaded(
        "auth.path",
        block.path,
        lambda auth: configured(
            auth, block, limit_s=settings.auth_s_max, lets_studio_in=settings.studio_auth
        ),
    )
    admission = Admission(made, Objects(rows, tenant=settings.tenant), assistants)
    return Guard(made, admission, acting, block.openapi)
