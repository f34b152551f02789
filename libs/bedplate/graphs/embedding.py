"""What a project's `store.index.embed` names: a function, an Embeddings object, or a provider's
model."""

from __future__ import annotations

from typing import cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings

from bedplate.graphs.config import ProjectConfig, reference_of
from bedplate.graphs.loading import NotLoadable, load
from bedplate.kernel.errors import Refused

_KEY = "store.index.embed"


def embeddings_of(text: str, project: ProjectConfig) -> Embeddings:
    """`./file.py:name` and `package.module:name` are the project's own, where there is such a
    thing; else it is `provider:model`. Raises `Refused`, with the user's traceback as `trace`."""
    location, _, name = text.rpartition(":")
    is_file = location.endswith(".py") or "/" in location
    if is_file or (location and name.isidentifier()):
        reference = reference_of(text, _KEY, project.path)
        try:
            found = load(reference, folder=project.folder, paths=project.import_paths)
        except NotLoadable as error:
            # `cohere:embed` looks like both. A file, or a module that breaks, is nobody's model.
            if is_file or not _leads_nowhere(error, location):
                raise
        else:
            if not (isinstance(found, Embeddings) or callable(found)):
                raise Refused(
                    f"'{_KEY}' is {text!r}, which is {type(found).__name__}; it must be a function"
                    " of a list of texts, or an Embeddings object"
                )
            return ensure_embeddings(cast("Embeddings", found))
    try:
        return ensure_embeddings(text)
    except (ImportError, ValueError, TypeError) as error:
        raise Refused(f"'{_KEY}' is {text!r}: {error}") from error


def _leads_nowhere(error: NotLoadable, location: str) -> bool:
    """Whether there is no such module or no such name in it."""
    cause = error.__cause__
    if not isinstance(cause, ModuleNotFoundError):
        return cause is None
    missing = cause.name or ""
    return location == missing or location.startswith(f"{missing}.")
