"""Config and context of a run: its assistant's below, its own above. Pure.

A run's are put together by the gateway when a client asks for one, and by the scheduler when a cron
is due: the same way, or the same request would run differently at night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]

CHECKPOINT_KEYS = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
# Where a run is, not what it is about: never mirrored into the context.
PLACE_KEYS = frozenset({"thread_id", "run_id", *CHECKPOINT_KEYS})


@dataclass(frozen=True)
class Setup:
    """Config and context; what is given as one of configurable and context is in both."""

    config: Object
    context: Object

    @property
    def lasting(self) -> Object:
        """The config as the thread keeps it. Where one run began is not where its state is read."""
        given: Object | None = self.config.get("configurable")
        if given is None:
            return self.config
        kept = {key: value for key, value in given.items() if key not in PLACE_KEYS}
        return {**self.config, "configurable": kept}

    def without_place(self) -> tuple[Setup, Object]:
        """Also the checkpoint it names in `configurable`: where this run begins is not a setting.
        Kept in the thread's config it would be where every later read of the thread looks."""
        if "configurable" not in self.config:
            return self, {}
        configurable: Object = dict(self.config["configurable"] or {})
        named = {key: configurable.pop(key, None) for key in CHECKPOINT_KEYS}
        place = {key: value for key, value in named.items() if value is not None}
        rest = Setup({**self.config, "configurable": configurable}, self.context)
        return rest, place

    def with_configurable(self, **values: Any) -> Setup:
        """More of `configurable`, which the context does not mirror."""
        configurable: Object = self.config.get("configurable") or {}
        return Setup({**self.config, "configurable": {**configurable, **values}}, self.context)


def merged(*parts: Object | None) -> Object:
    """Key by key, later ones win."""
    result: Object = {}
    for part in parts:
        if part:
            result |= part
    return result


def merged_setup(below: Setup, above: Setup) -> Setup:
    """Key by key, `above` wins; tags are put together, metadata and configurable are merged."""
    config = merged(below.config, above.config)
    for key in ("configurable", "metadata"):
        if key in config:
            config[key] = merged(below.config.get(key), above.config.get(key))
    tags: list[Any] = [*below.config.get("tags", ()), *above.config.get("tags", ())]
    if tags:
        config["tags"] = list(dict.fromkeys(tags))
    return Setup(config, merged(below.context, above.context))
