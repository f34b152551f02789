"""The side of the gateway that clients meet: its paths, behind the project's authentication."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fastapi import FastAPI

from bedplate.chassis.metrics import Metrics
from bedplate.graphs.config import given_blocks, parsed_block

from .access.objects import Objects
from .acting import ActingRuns
from .assistants import Assistants
from .http.door import Admission
from .http.middleware import Answered
from .http.paths import Path, SocketPath
from .http.site import Guard, site
from .http.system import SystemPaths
from .project import Project
from .rows import Rows
from .settings import Settings
from .system import System


def front(
    settings: Settings,
    paths: Sequence[Path],
    sockets: Sequence[SocketPath],
    *,
    about: System,
    metrics: Metrics,
    guard: Guard | None,
) -> FastAPI:
    answered = Answered(metrics)
    security = {} if guard is None else guard.openapi
    system = SystemPaths(about, metrics, answered, paths, security=security)
    return site(
        [*system.table(), *paths],
        sockets,
        answered,
        cors_origins=settings.cors_origins,
        body_bytes_max=settings.body_bytes_max,
        guard=guard,
    )


def guard_of(
    settings: Settings, rows: Rows, assistants: Assistants, acting: ActingRuns
) -> Guard | None:
    """None: no `auth.path`, and so nothing that costs anything. Raises `ConfigurationError` for one
    that cannot be had."""
    blocks = given_blocks(settings.config, os.environ)
    if not blocks.auth:
        return None
    # Not at the top: only projects with authentication need the SDK here.
    from .access.configured import AuthBlock, configured

    block = parsed_block("auth", blocks.auth, AuthBlock)
    if block.path is None:
        return None
    made = Project(settings.config, blocks).loaded(
        "auth.path",
        block.path,
        lambda auth: configured(
            auth, block, limit_s=settings.auth_s_max, lets_studio_in=settings.studio_auth
        ),
    )
    admission = Admission(made, Objects(rows, tenant=settings.tenant), assistants)
    return Guard(made, admission, acting, block.openapi)
