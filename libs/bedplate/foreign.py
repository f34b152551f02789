"""Variables of the server we replace that are no setting of ours, and what becomes of each.

A project that moves here brings its environment along. What has no effect is named once at start,
so that nobody relies on it; `docs/configuration.md` lists all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

VENDOR = "concerns the vendor's cloud or the inside of its server"
_REDIS = "Redis is optional, and only REDIS_URI is read"


@dataclass(frozen=True)
class Foreign:
    """`pattern` may end in `*`. `instead` completes "has no effect: …"."""

    pattern: str
    instead: str = VENDOR


WITHOUT_EFFECT = (
    Foreign("BG_JOB_HEARTBEAT", "BEDPLATE_EXECUTOR_LEASE_S says when a silent executor is lost"),
    Foreign(
        "BG_JOB_ISOLATED_LOOPS",
        "runs share a worker's event loop; BEDPLATE_EXECUTOR_STALL_KILL_S says how long it may be"
        " blocked",
    ),
    Foreign("CRON_SCHEDULER_SLEEP_TIME", "crons fire within a second of their time anyway"),
    Foreign("DEFAULT_A2A_ASSISTANT_ID", "A2A is not served"),
    Foreign(
        "LANGGRAPH_ALLOW_BLOCKING", "blocking code is never refused, and reported by its stack"
    ),
    Foreign("LANGGRAPH_UI*", "generative UI is not served"),
    Foreign("LOG_COLOR", "NO_COLOR takes the colours off a terminal"),
    Foreign("LSD_PROTOCOL_V2_BUFFER_SIZE", "events are kept by age: BEDPLATE_EVENTS_S"),
    Foreign("MAX_STREAM_CHUNK_SIZE_BYTES", "events of any size are passed on"),
    Foreign("OTEL_ENABLED", "the services export metrics for Prometheus, and no traces"),
    Foreign("REDIS_CLUSTER", _REDIS),
    Foreign("REDIS_CONNECT_TIMEOUT", _REDIS),
    Foreign("REDIS_HEALTH_CHECK_INTERVAL", _REDIS),
    Foreign("REDIS_KEY_PREFIX", _REDIS),
    Foreign("REDIS_MAX_CONNECTIONS", _REDIS),
    Foreign("REDIS_TLS_CA_CERT", _REDIS),
    Foreign("A2A_A2UI_*"),
    Foreign("A2A_ALLOWED_TOOL_CALL_RESULTS"),
    Foreign("BYOC_*"),
    Foreign("CHECKPOINT_BATCH_DELAY"),
    Foreign("CHECKPOINT_MAX_BATCH_SIZE"),
    Foreign("DATA_PLANE_*"),
    Foreign("DISABLE_TRUSTSTORE"),
    Foreign("DISPATCH_MODE"),
    Foreign("FF_ASYNC_PUBLISH_QUEUE"),
    Foreign("FF_PYSPY_PROFILING_ENABLED"),
    Foreign("FF_USE_REDIS_QUEUE"),
    Foreign("LANGGRAPH_AUTH_TYPE"),
    Foreign("LANGGRAPH_CLOUD_LICENSE_KEY"),
    Foreign("LANGGRAPH_DISABLE_FILE_PERSISTENCE"),
    Foreign("LANGGRAPH_JS_READY_TIMEOUT_SECS"),
    Foreign("LANGGRAPH_LOGS_*"),
    Foreign("LANGGRAPH_METRICS_*"),
    Foreign("LANGSMITH_AUTH_*"),
    Foreign("LANGSMITH_CONTROL_PLANE_API_KEY"),
    Foreign("LANGSMITH_LANGGRAPH_API_VARIANT"),
    Foreign("LANGSMITH_LICENSE_REQUIRED_CLAIMS"),
    Foreign("LANGSMITH_TENANT_ID"),
    Foreign("LSD_*"),
    Foreign("LS_DEFAULT_CHECKPOINTER_BACKEND"),
    Foreign("LS_MONGODB_URI"),
    Foreign("METRIC_*"),
    Foreign("MIGRATIONS_PATH"),
    Foreign("RUN_STATS_CACHE_SECONDS"),
    Foreign("STATS_INTERVAL_SECS"),
)


def without_effect(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that is set in vain. Without its value, which may be secret."""
    found = ((name, _foreign(name)) for name in sorted(environ) if environ[name].strip())
    return [f"{name} has no effect: {known.instead}" for name, known in found if known is not None]


def _foreign(name: str) -> Foreign | None:
    return next((one for one in WITHOUT_EFFECT if fnmatchcase(name, one.pattern)), None)
