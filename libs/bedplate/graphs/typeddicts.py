"""`typing.TypedDict` for pydantic, which before Python 3.12 takes only that of `typing_extensions`.

Graphs are written with either, and without this most of them would have no schema on Python 3.11.
"""

from __future__ import annotations

import functools
import operator
import types
import typing
from typing import Any, cast

import typing_extensions


def extended(kind: Any, *, above: tuple[Any, ...] = ()) -> Any:
    """`kind` with every `TypedDict` in it remade by `typing_extensions`.

    A TypedDict that contains itself is open at that place (`Any`). Raises what a hint raises that
    cannot be resolved.
    """
    if typing.is_typeddict(kind):
        return Any if kind in above else _remade(kind, above)
    if typing.get_origin(kind) is None:
        return kind
    return _generic(kind, above)


def _remade(kind: Any, above: tuple[Any, ...]) -> Any:
    fields: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        # Annotations that are text hide Required and NotRequired from `__required_keys__`.
        is_required, qualifier = name in kind.__required_keys__, typing.get_origin(hint)
        if qualifier in (typing.Required, typing.NotRequired):
            is_required, hint = qualifier is typing.Required, typing.get_args(hint)[0]
        made = extended(hint, above=(*above, kind))
        fields[name] = made if is_required else typing_extensions.NotRequired[made]
    remade = cast("Any", typing_extensions.TypedDict)(kind.__name__, fields)
    remade.__doc__ = kind.__doc__
    return remade


def _generic(kind: Any, above: tuple[Any, ...]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        made = extended(arguments[0], above=above)
        return cast("Any", typing.Annotated)[(made, *kind.__metadata__)]
    if origin is typing.Literal:
        return kind
    made_all = tuple(
        extended(argument, above=above)
        if typing.get_origin(argument) or isinstance(argument, type)
        else argument
        for argument in arguments
    )
    if made_all == arguments:
        return kind
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, made_all)
    return origin[made_all]
