"""Values a client sent, as forms; what is wrong is named."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import Unprocessable

F = TypeVar("F", bound=BaseModel)


def checked(form: type[F], value: Any) -> F:
    """Raises `Unprocessable`."""
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise Unprocessable(problem_of(error)) from error


def problem_of(error: ValidationError) -> str:
    """The first problem as `field: what is wrong`, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
    text = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    others = len({problem["loc"][:1] for problem in problems}) - 1
    more = f" (and {others} more field(s))" if others > 0 else ""
    return f"{where}: {text}{more}" if where else f"{text}{more}"


def _is_branch(part: str | int) -> bool:
    """pydantic names the branches of a union too, e.g. `list[str]`: no field of a client."""
    return isinstance(part, str) and (
        "[" in part or part in ("str", "dict", "literal", "constrained-int", "int", "bool")
    )
