"""The block `http` of `langgraph.json`: which paths are served, where, to whom, and what of a
request's headers reaches runs and logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bedplate.chassis.log import get_logger
from bedplate.graphs.config import parsed_block
from bedplate.graphs.mount import MountPrefix
from bedplate.kernel.setup import PLACE_KEYS

from .asking import SERVER_KEYS

log = get_logger()

# Whatever is configured: these would be kept with the run, for everybody who may read it.
NEVER = frozenset({"authorization", "x-api-key", "x-tenant-id", "x-service-key"})
# What the server says in `configurable`; no header can say it.
_OURS = SERVER_KEYS | PLACE_KEYS | {"graph_id", "assistant_id", "cron_id", "user_id"}


class HeaderBlock(BaseModel):
    """Which headers, by name; `*` stands for any part of one. What is excluded stays out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    includes: list[str] = []
    excludes: list[str] = []


class CorsBlock(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_origins: list[str] | None = None
    allow_methods: list[str] = ["*"]
    allow_headers: list[str] = ["*"]
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: list[str] = []
    max_age: int = Field(default=600, ge=0, le=86_400)


class HttpBlock(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    app: str | None = None
    enable_custom_route_auth: bool = False
    middleware_order: Literal["middleware_first", "auth_first"] = "middleware_first"
    mount_prefix: MountPrefix = ""
    cors: CorsBlock | None = None
    configurable_headers: HeaderBlock | None = None
    logging_headers: HeaderBlock | None = None
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_webhooks: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_ui: bool = False
    disable_meta: bool = False
    disable_event_streaming: bool = False

    def serves(self, tag: str) -> bool:
        """Whether paths under this heading of the document are there."""
        return not any(tag in tags and getattr(self, flag) for flag, tags in _SWITCHES.items())


_SWITCHES = {
    "disable_assistants": ("Assistants",),
    "disable_threads": ("Threads",),
    "disable_runs": ("Runs", "Crons"),
    "disable_store": ("Store",),
    "disable_webhooks": ("Webhooks",),
    "disable_mcp": ("MCP",),
    "disable_a2a": ("A2A",),
    "disable_event_streaming": ("Event streaming",),
}


def http_block(given: Any) -> HttpBlock:
    """Raises `Refused`. A key that is not known is named and left: a project may be written for a
    newer server."""
    block = parsed_block("http", given or {}, HttpBlock)
    for key in sorted(set(given or {}) - HttpBlock.model_fields.keys()):
        log.warning("setting.ignored", variable=f"http.{key}", why="it is not known")
    return block


class HeaderRule:
    """Picks headers of a request, by lower-case name."""

    def __init__(self, block: HeaderBlock) -> None:
        self._included = _matching(block.includes)
        self._excluded = _matching(block.excludes)

    def picked(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
        """The last one counts of several with one name."""
        found: dict[str, str] = {}
        for raw, value in headers:
            name = raw.decode("latin-1").lower()
            if self._is_picked(name):
                found[name] = value.decode("latin-1")
        return found

    def _is_picked(self, name: str) -> bool:
        if name in NEVER or name in _OURS or name.startswith("__"):
            return False
        is_out = self._excluded is not None and self._excluded.fullmatch(name)
        return not is_out and bool(self._included and self._included.fullmatch(name))


def _matching(names: list[str]) -> re.Pattern[str] | None:
    if not names:
        return None
    parts = (".*".join(map(re.escape, name.lower().split("*"))) for name in names)
    return re.compile("|".join(f"(?:{part})" for part in parts))


def header_rule(block: HeaderBlock | None) -> HeaderRule | None:
    return None if block is None else HeaderRule(block)


def cors_options(
    block: HttpBlock, config: Any, origins: list[str] | None, *, private_network: bool
) -> Mapping[str, Any]:
    """Arguments for the middleware: CORS_CONFIG (`config`) counts instead of the block, and
    CORS_ALLOW_ORIGINS (`origins`) where neither names origins. Raises `Refused`."""
    cors = block.cors or CorsBlock()
    if config is not None:
        cors = parsed_block("CORS_CONFIG", config, CorsBlock)
    named = cors.allow_origins
    if named is None or (config is None and origins is not None):
        named = origins
    if named is None:
        # An expression that names some would mean nothing beside all.
        named = [] if cors.allow_origin_regex else ["*"]
    options: dict[str, Any] = {
        "allow_origins": named,
        "allow_methods": cors.allow_methods,
        "allow_headers": cors.allow_headers,
        "allow_credentials": cors.allow_credentials,
        "allow_origin_regex": cors.allow_origin_regex,
        "expose_headers": cors.expose_headers,
        "max_age": cors.max_age,
    }
    return {**options, "allow_private_network": True} if private_network else options
