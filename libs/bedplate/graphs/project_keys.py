"""Every key of a `langgraph.json` and what becomes of it here.

`config` takes its notices from this table, and `docs/configuration.md` is written from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import cast


class Fate(StrEnum):
    """What this server does with a key."""

    SERVED = "served"
    BUILD = "for building images only"
    NOTICE = "named in a notice, without effect"
    REFUSED = "refused at start"


@dataclass(frozen=True)
class Key:
    name: str
    default: str
    meaning: str
    fate: Fate = Fate.SERVED


KEYS = (
    Key("graphs", "required", "Graph id to reference, or to `{path, description}`."),
    Key(
        "dependencies", "[]", "Folders that go onto the import path. Packages are yours to install."
    ),
    Key("env", "{}", "Variables, or the path of a dotenv file. The process's own win."),
    Key("store.index.dims", "required", "Numbers in a vector."),
    Key("store.index.embed", "required", "`provider:model`, or a reference to what embeds."),
    Key("store.index.fields", '["$"]', "JSON paths of what is embedded."),
    Key("store.ttl.default_ttl", "none", "Minutes that a new item lives."),
    Key("store.ttl.refresh_on_read", "true", "Whether reading an item lets it live longer."),
    Key("store.ttl.omit_expired", "true", "Whether what is over is hidden before it is swept."),
    Key("store.ttl.sweep_interval_minutes", "5", "Minutes between two sweeps."),
    Key("store.path", "none", "Your own `BaseStore`."),
    Key(
        "checkpointer.backend", "default", "`default`, or `custom` with a path. `mongo` is refused."
    ),
    Key("checkpointer.path", "none", "Your own `BaseCheckpointSaver`."),
    Key("checkpointer.uri", "none", "Of the `mongo` backend.", Fate.REFUSED),
    Key("checkpointer.ttl.strategy", "delete", "`delete`, or `keep_latest` checkpoint."),
    Key("checkpointer.ttl.default_ttl", "none", "Minutes from a thread's last update."),
    Key("checkpointer.ttl.sweep_interval_minutes", "5", "Minutes between two sweeps."),
    Key("checkpointer.ttl.sweep_limit", "10000, or 1000 (keep_latest)", "Threads of one sweep."),
    Key("checkpointer.serde.allowed_json_modules", "none", "Classes that revive from old JSON."),
    Key("checkpointer.serde.allowed_msgpack_modules", "safe ones", "More classes that revive."),
    Key("checkpointer.serde.pickle_fallback", "false", "`true` is refused: pickle runs code."),
    Key("auth.path", "none", "A `langgraph_sdk.Auth` object."),
    Key(
        "auth.disable_studio_auth", "false", "`true`: refused also where `STUDIO_AUTH` lets it in."
    ),
    Key("auth.allow_langsmith_api_keys", "false", "The vendor's API keys.", Fate.NOTICE),
    Key("auth.openapi", "none", "`securitySchemes`, `security` and `paths` of the document."),
    Key("auth.cache.cache_keys", "none", "Headers that name what authentication answered."),
    Key("auth.cache.ttl_seconds", "none", "Seconds that such an answer holds."),
    Key("auth.cache.max_size", "none", "Answers that are kept."),
    Key("encryption.path", "none", "A `langgraph_sdk.Encryption` object."),
    Key("priority.path", "none", "A handler that says which runs go first."),
    Key("http.app", "none", "Your own Starlette or FastAPI app around the API."),
    Key("http.enable_custom_route_auth", "false", "Whether your routes authenticate too."),
    Key("http.middleware_order", "middleware_first", "Or `auth_first`."),
    Key("http.mount_prefix", "none", "Path below which everything is served."),
    Key("http.cors.allow_origins", "all", "Origins whose pages may call."),
    Key("http.cors.allow_origin_regex", "none", "The same as an expression."),
    Key("http.cors.allow_methods", "all", "What they may call with."),
    Key("http.cors.allow_headers", "all", "Headers they may send."),
    Key("http.cors.allow_credentials", "false", "Whether cookies come along."),
    Key("http.cors.expose_headers", "ours", "Headers they may read besides ours."),
    Key("http.cors.max_age", "600", "Seconds that a browser remembers these answers."),
    Key("http.configurable_headers.includes", "none", "Headers that reach `configurable`; `*`."),
    Key("http.configurable_headers.excludes", "none", "Headers that never do."),
    Key("http.logging_headers.includes", "none", "Headers that stand in the log; `*`."),
    Key("http.logging_headers.excludes", "none", "Headers that never do."),
    Key("http.disable_assistants", "false", "These paths answer 404."),
    Key("http.disable_threads", "false", "These paths answer 404."),
    Key("http.disable_runs", "false", "These paths answer 404, and those of crons."),
    Key("http.disable_store", "false", "These paths answer 404."),
    Key("http.disable_webhooks", "false", "Runs go on without their webhooks; their paths: 404."),
    Key("http.disable_meta", "false", "`/info`, `/metrics`, `/docs` and `/openapi.json`: 404."),
    Key("http.disable_event_streaming", "false", "The event-streaming protocol (v2): 404."),
    Key("http.disable_mcp", "false", "MCP is not served anyway."),
    Key("http.disable_a2a", "false", "A2A is not served anyway."),
    Key("http.disable_ui", "false", "Generative UI is not served anyway."),
    Key("webhooks.env_prefix", "LG_WEBHOOK_", "Variables that may stand in `headers`."),
    Key("webhooks.headers", "{}", "Headers that are sent along."),
    Key("webhooks.allowed_fields", "all", "Fields that are told."),
    Key("webhooks.url.require_https", "true with a `url` block", "Only HTTPS is called."),
    Key("webhooks.url.allowed_domains", "any", "Exact, or `*.example.com`."),
    Key("webhooks.url.allowed_ports", "any", "Ports that are called."),
    Key("webhooks.url.max_url_length", "2048; 4096 without the block", "Characters."),
    Key("webhooks.url.disable_loopback", "true", "Loopback and mere paths are refused."),
    Key("webhooks.url.disable_private_ips", "false", "Private addresses are refused."),
    Key("ui", "none", "Generative UI.", Fate.NOTICE),
    Key("ui_config", "none", "Generative UI.", Fate.NOTICE),
    Key("$schema", "none", "For editors.", Fate.BUILD),
    Key("api_version", "none", "Version of the vendor's server.", Fate.BUILD),
    Key("base_image", "none", "", Fate.BUILD),
    Key("dockerfile_lines", "[]", "", Fate.BUILD),
    Key("image_distro", "debian", "", Fate.BUILD),
    Key("keep_pkg_tools", "false", "", Fate.BUILD),
    Key("node_version", "20", "Graphs in JavaScript are refused.", Fate.BUILD),
    Key("pip_config_file", "none", "", Fate.BUILD),
    Key("pip_installer", "auto", "", Fate.BUILD),
    Key("python_version", "3.11", "", Fate.BUILD),
    Key("source", "none", "A uv workspace.", Fate.BUILD),
)

TOP_LEVEL = frozenset(key.name.partition(".")[0] for key in KEYS)


def without_effect(document: dict[str, object]) -> list[str]:
    """A sentence for each key of a `langgraph.json` that is unknown or set in vain."""
    unknown = [f"unknown key {name!r}, ignored" for name in sorted(document.keys() - TOP_LEVEL)]
    return unknown + [
        f"{key.name!r} has no effect on this server"
        for key in sorted(KEYS, key=lambda key: key.name)
        if key.fate is Fate.NOTICE and _is_given(document, key.name)
    ]


def _is_given(document: object, name: str) -> bool:
    at = document
    for part in name.split("."):
        if not isinstance(at, dict) or part not in at:
            return False
        at = cast("dict[str, object]", at)[part]
    return at is not None and at is not False
