"""The project's own word on who runs first: its `langgraph_sdk.Priority` handler.

Asked at the first run of a thread that has no settings yet. What it answers is checked here: the
scheduler stores it and orders runs by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import structlog

from bedplate.graphs.config import ProjectConfig, reference_of
from bedplate.graphs.host import User
from bedplate.graphs.loading import NotLoadable, load, users_trace
from bedplate.kernel.errors import Refused

log = structlog.get_logger(__name__)

# A run is not created before the answer is there.
ASSIGN_S_MAX = 2.0
DEFAULT_PRIORITY, DEFAULT_GROUP = 0, "default"
_PRIORITIES = range(-5, 6)
_GROUP_CHARS_MAX = 256
_AT_ONCE = 32


class PriorityLoadError(Refused):
    """The project's priority handler cannot be loaded. `trace` is the traceback of the user's code,
    or empty."""

    def __init__(self, problem: str, *, trace: str = "") -> None:
        super().__init__(f"The priority handler cannot be loaded: {problem}.")
        self.trace = trace


@dataclass(frozen=True)
class Assigned:
    """From -5, which runs first, to 5; and the group among which shares are counted."""

    priority: int = DEFAULT_PRIORITY
    fairness_group: str = DEFAULT_GROUP


class PriorityHandler:
    """The function that the project registered with `@priority.assign`."""

    def __init__(self, assign: Callable[[Any], Awaitable[Any]]) -> None:
        self._assign = assign

    @classmethod
    def load(cls, config: ProjectConfig) -> PriorityHandler | None:
        """None when the project configures none. Raises PriorityLoadError, and Refused for the
        block."""
        if not config.priority:
            return None
        path = config.priority.get("path")
        if not isinstance(path, str):
            raise Refused(f"{config.path.name}: 'priority.path' must be a text.")
        reference = reference_of(path, "priority.path", config.path)
        try:
            found = load(reference, folder=config.folder, paths=config.import_paths)
        except NotLoadable as error:
            raise PriorityLoadError(error.problem, trace=error.trace) from error
        # The SDK has no public way to it: the server is its only other user.
        assign = getattr(found, "_assign_handler", None)
        if not callable(assign):
            problem = (
                f"{path!r} is a {type(found).__name__}; it must be a langgraph_sdk.Priority"
                " with a function registered by @assign"
            )
            raise PriorityLoadError(problem)
        return cls(cast("Callable[[Any], Awaitable[Any]]", assign))

    async def assigned(self, contexts: Sequence[Mapping[str, Any]]) -> list[Assigned | None]:
        """What it says of each run, in their order; None where it failed, which is logged."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(context: Mapping[str, Any]) -> Assigned | None:
            async with room:
                return await self._one(context)

        return list(await asyncio.gather(*(one(context) for context in contexts)))

    async def _one(self, context: Mapping[str, Any]) -> Assigned | None:
        from langgraph_sdk import PriorityContext

        user = User({"identity": "", "is_authenticated": False, **(context["user"] or {})})
        told: dict[str, Any] = {**context, "user": user, "permissions": user.permissions}
        asked = PriorityContext(**told)
        try:
            async with asyncio.timeout(ASSIGN_S_MAX):
                return assigned_of(await self._assign(asked))
        except Exception as error:
            log.error(  # noqa: TRY400 - of the traceback only the user's part says something
                "priority.failed",
                thread_id=context["thread_id"],
                error=f"{type(error).__name__}: {error}",
                trace=users_trace(error),
            )
            return None


def assigned_of(answer: Any) -> Assigned:
    """The handler's answer. Raises ValueError for one that is none.

    Source: `langgraph_sdk.priority.types.PrioritySettings`.
    """
    if answer is None:
        return Assigned()
    if not isinstance(answer, Mapping):
        raise ValueError(f"it returned a {type(answer).__name__}, not settings or None")  # noqa: TRY004
    settings = cast("Mapping[str, Any]", answer)
    priority, group = settings.get("priority"), settings.get("fairness_group")
    if priority is None:
        priority = DEFAULT_PRIORITY
    if isinstance(priority, bool) or not isinstance(priority, int) or priority not in _PRIORITIES:
        raise ValueError(f"priority is {priority!r}, not an integer from -5 to 5")
    if group is None or group == "":
        group = DEFAULT_GROUP
    if not isinstance(group, str) or len(group) > _GROUP_CHARS_MAX or not _is_storable(group):
        raise ValueError(f"fairness_group is no text of at most {_GROUP_CHARS_MAX} characters")
    return Assigned(priority, group)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return "\x00" not in text
