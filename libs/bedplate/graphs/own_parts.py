"""A store or a checkpointer that a project brings itself (`store.path`, `checkpointer.path`)."""

from __future__ import annotations

import inspect
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any, TypeVar, cast

from bedplate.graphs.config import ProjectConfig, reference_of
from bedplate.graphs.loading import NotLoadable, load, users_trace
from bedplate.kernel.errors import Refused

Part = TypeVar("Part")


async def opened(
    text: str, key: str, kind: type[Part], *, project: ProjectConfig, stack: AsyncExitStack
) -> Part:
    """The part that the reference `text` under `key` leads to, open until `stack` is.

    The reference names one, or something that makes one: a function, an async function, or a
    context manager of either kind. Raises `Refused`, with the user's traceback as `trace`.
    """
    reference = reference_of(text, key, project.path)
    found: Any = load(reference, folder=project.folder, paths=project.import_paths)
    try:
        if not isinstance(found, kind) and callable(found):
            found = found()
        if inspect.isawaitable(found):
            found = await found
        if not isinstance(found, kind):
            if isinstance(found, AbstractAsyncContextManager):
                found = await stack.enter_async_context(cast("Any", found))
            elif isinstance(found, AbstractContextManager):
                found = stack.enter_context(cast("Any", found))
    except Exception as error:
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise NotLoadable(f"'{key}': {text!r} failed with {what}", trace=users_trace(error)) from (
            error
        )
    if not isinstance(found, kind):
        raise Refused(
            f"'{key}' is {text!r}, which leads to {type(found).__name__}; it must be a"
            f" {kind.__name__}, or make one (an async context manager is best)"
        )
    return found
