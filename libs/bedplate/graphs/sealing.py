"""JSON of rows that only a key opens, and that says of itself what in it is sealed.

A sealed value is an object with one reserved key: `{"__sealed__": [value, context, model, field,
kind]}`, where `value` is what a handler made of it and `kind` says whose handler. A sixth part is
the name under which a value that is no member of an object was given to it. So every stored JSON
tells what of it is sealed and with which context, also after PostgreSQL has merged it with another
one key by key, and what was stored before is read as it is.

A handler is given an object and answers one with the same keys. What it changed is sealed; where it
left an object, or a list with objects, as it was, it is asked again for each of those. Some keys it
is never given (`Shape`): they are how rows, checkpoints and runs are found and steered, and what
is merged key by key (config, context, metadata of a run) is never sealed as a whole.

Client data that holds the reserved key is escaped when it is sealed: it never reaches a handler as
something to open. So `opened` may be asked only for what was read from our tables.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

import structlog
from pydantic_core import from_json, to_json

from bedplate.kernel.errors import HandlerFailed

log = structlog.get_logger(__name__)

Object: TypeAlias = dict[str, Any]
Metadata: TypeAlias = Mapping[str, Any]

MARK = "__sealed__"
OWN, AES = "own", "aes"
AES_KEY = "LANGGRAPH_AES_KEY"
_PARTS, _PARTS_NAMED = 5, 6
# The key itself and its escapes: each time it is sealed it gets one more sign.
_ESCAPABLE = re.compile(rf"{MARK}!*")
_ESCAPED = re.compile(rf"{MARK}!+")
# Objects that are with the handlers, and a key service behind them, at a time.
AT_ONCE_MAX = 8

_EVERYWHERE = frozenset(
    {
        *("thread_id", "run_id", "assistant_id", "graph_id", "task_id", "cron_id"),
        *("checkpoint_id", "checkpoint_ns", "checkpoint_map"),
    }
)
_PREFIXES = ("langgraph_", "__pregel_")
_OF_METADATA = frozenset(
    {
        *("source", "step", "parents", "run_attempt", "created_by"),
        *("compacted", "counters_since_delta_snapshot"),
    }
)
_OF_CONFIG = frozenset({"recursion_limit", "max_concurrency", "tags", "run_name"})
_OF_REQUEST = frozenset({"input", "command"})
SYSTEM_KEYS = _EVERYWHERE | _OF_METADATA | _OF_CONFIG
# Objects that are merged key by key.
MERGED_KEYS = frozenset({"config", "configurable", "context", "metadata"})


def is_system_key(name: str) -> bool:
    """Whether no handler is ever given it, wherever it stands."""
    return name in _EVERYWHERE or name.startswith(_PREFIXES)


@dataclass(frozen=True)
class Shape:
    """What of an object handlers are given. `parts` are objects of their own: asked for by
    themselves, never sealed whole. `only`: nothing else."""

    plain: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    parts: Mapping[str, Shape] = field(default_factory=dict[str, "Shape"])

    def gives(self, name: str) -> bool:
        if is_system_key(name) or name in self.plain or name in self.parts:
            return False
        return self.only is None or name in self.only


_ANY = Shape()
_METADATA = Shape(plain=_OF_METADATA)
_CONFIG = Shape(plain=_OF_CONFIG, parts={"configurable": _ANY, "metadata": _METADATA})
_REQUEST = Shape(
    only=_OF_REQUEST, parts={"config": _CONFIG, "context": _ANY, "metadata": _METADATA}
)
_SHAPES = {"metadata": _METADATA, "config": _CONFIG, "kwargs": _REQUEST, "payload": _REQUEST}


@dataclass(frozen=True)
class Place:
    """What a handler is told of an object: whose it is, and the context it was or is sealed in."""

    model: str
    field: str
    metadata: Metadata

    @property
    def name(self) -> str:
        return f"{self.model}.{self.field}"


class Handlers(Protocol):
    """Whoever seals and opens. Both answer an object with the keys they were given."""

    is_prompt: bool
    """They wait for nobody: nothing is won by asking side by side."""

    def leaves(self, text: str) -> bool:
        """Whether it is plain at once that nothing in this JSON text would be sealed."""
        ...

    async def encrypt(self, place: Place, given: Object) -> Any: ...

    async def decrypt(self, place: Place, given: Object, sealed: Sequence[str]) -> Any:
        """`sealed` are the keys whose values are to be opened; the others stand beside them."""
        ...


class Sealing:
    """Safe to share. `sealer` is the kind of `handlers` that seals what is written; None: nobody
    does any more, what was sealed is opened."""

    def __init__(self, handlers: Mapping[str, Handlers], *, sealer: str | None) -> None:
        self._handlers = handlers
        self._sealer = sealer

    def leaves(self, text: str) -> bool:
        """Whether this JSON text would be stored as it is: nobody seals anything in it, and nothing
        has to be escaped."""
        if MARK in text:
            return False
        if self._sealer is None:
            return True
        # What is no object is given to them under the name of its field.
        return text.startswith("{") and self._handlers[self._sealer].leaves(text)

    async def sealed(self, value: Any, *, model: str, field: str, context: Metadata | None) -> Any:
        """A JSON value for a row. Raises `HandlerFailed`."""
        walk = _Walk(self._handlers)
        place = Place(model, field, dict(context or {}))
        shape = _SHAPES.get(field, _ANY)
        if isinstance(value, dict):
            return await walk.sealed(cast("Object", value), place, shape, self._sealer)
        if value is None:
            return None
        # Handlers know objects alone.
        found = (await walk.sealed({field: value}, place, _ANY, self._sealer))[field]
        if is_mark(found):
            found[MARK].append(field)
        return found

    async def sealed_text(
        self, text: str, *, model: str, field: str, context: Metadata | None
    ) -> str:
        """The same of JSON text."""
        if self.leaves(text):
            return text
        found = await self.sealed(from_json(text), model=model, field=field, context=context)
        return dumped(found)

    async def opened(self, value: Any) -> Any:
        """What was sealed, of a JSON value that was read from a table. Raises `HandlerFailed`."""
        return await _Walk(self._handlers).opened(value)

    async def opened_text(self, text: str) -> str:
        """The same of JSON text; parsed only if there may be something to open."""
        if MARK not in text:
            return text
        try:
            value = from_json(text)
        except ValueError:
            # A text that is no JSON is nothing of ours.
            return text
        return dumped(await self.opened(value))


def is_mark(value: Any) -> bool:
    """Whether this is a sealed value."""
    if not isinstance(value, dict) or len(cast("Object", value)) != 1:
        return False
    parts: Any = cast("Object", value).get(MARK)
    return isinstance(parts, list) and len(cast("list[Any]", parts)) in (_PARTS, _PARTS_NAMED)


def dumped(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()


class _Walk:
    """Through one JSON value."""

    def __init__(self, handlers: Mapping[str, Handlers]) -> None:
        self._handlers = handlers
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)

    # -- sealing

    async def sealed(self, value: Object, place: Place, shape: Shape, kind: str | None) -> Object:
        given = {name: part for name, part in value.items() if shape.gives(name)}
        answer = given
        if given and kind is not None:
            async with self._turns:
                answer = await self._handlers[kind].encrypt(place, _copied(given))
            _check_keys(answer, given, place)
        made: Object = {}
        for name, part in value.items():
            stored = f"{name}!" if _ESCAPABLE.fullmatch(name) else name
            if name in given and answer[name] != part:
                _check_json(answer[name], name, place)
                made[stored] = {
                    MARK: [answer[name], place.metadata, place.model, place.field, kind]
                }
                continue
            inner = shape.parts.get(name)
            # What no handler is given is not looked into either.
            asked = kind if name in given or inner is not None else None
            made[stored] = await self._sealed_inside(part, place, inner or _ANY, asked)
        return made

    async def _sealed_inside(self, part: Any, place: Place, shape: Shape, kind: str | None) -> Any:
        if isinstance(part, dict):
            return await self.sealed(cast("Object", part), place, shape, kind)
        if isinstance(part, list):
            parts = cast("list[Any]", part)
            if kind is None or self._handlers[kind].is_prompt:
                return [await self._sealed_inside(one, place, _ANY, kind) for one in parts]
            return await _each(lambda one: self._sealed_inside(one, place, _ANY, kind), parts)
        return part

    # -- opening

    async def opened(self, value: Any) -> Any:
        if is_mark(value):
            _, place, name = _read(value)
            return (await self._opened_marks({name or place.field: value}))[name or place.field]
        if isinstance(value, list):
            return await _each(self.opened, cast("list[Any]", value))
        if not isinstance(value, dict):
            return value
        members = cast("Object", value)
        made: Object = {}
        marks: Object = {}
        for name, part in members.items():
            shown = name[:-1] if _ESCAPED.fullmatch(name) else name
            if is_mark(part):
                marks[shown] = part
                # Its place in the order of the keys.
                made[shown] = None
            else:
                made[shown] = await self.opened(part)
        if marks:
            beside = {name: part for name, part in made.items() if name not in marks}
            made |= await self._opened_marks(marks, beside)
        return made

    async def _opened_marks(self, marks: Object, beside: Object | None = None) -> Object:
        """Those of one object: one call for each context, because each may need another key."""
        groups: dict[tuple[str, str, str, str], Object] = {}
        places: dict[tuple[str, str, str, str], Place] = {}
        made: Object = {}
        for name, mark in marks.items():
            kind, place, own_name = _read(mark)
            sealed = mark[MARK][0]
            if own_name is not None:
                made[name] = (await self._asked(kind, place, {own_name: sealed}, {}))[own_name]
                continue
            key = (kind, place.model, place.field, dumped(place.metadata))
            groups.setdefault(key, {})[name] = sealed
            places[key] = place
        plain = {
            name: part
            for name, part in (beside or {}).items()
            if not is_system_key(name) and name not in SYSTEM_KEYS
        }
        for key, sealed in groups.items():
            made |= await self._asked(key[0], places[key], sealed, plain)
        return made

    async def _asked(self, kind: str, place: Place, sealed: Object, plain: Object) -> Object:
        handlers = self._handlers.get(kind)
        if handlers is None:
            log.error("sealing.key_missing", kind=kind, place=place.name)
            raise HandlerFailed(f"{place.name} is encrypted, and nothing here can decrypt it")
        async with self._turns:
            answer = await handlers.decrypt(place, {**_copied(plain), **sealed}, list(sealed))
        if not isinstance(answer, Mapping) or not sealed.keys() <= cast("Object", answer).keys():
            log.error("sealing.keys_changed", handler="decrypt.json", place=place.name)
            raise HandlerFailed(f"decrypt.json did not keep the keys of {place.name}")
        return {name: cast("Object", answer)[name] for name in sealed}


def _read(mark: Object) -> tuple[str, Place, str | None]:
    parts: list[Any] = mark[MARK]
    _, metadata, model, field_name, kind, *name = parts
    return str(kind), Place(str(model), str(field_name), metadata or {}), name[0] if name else None


def _check_keys(answer: Any, given: Object, place: Place) -> None:
    if not isinstance(answer, Mapping):
        log.error("sealing.no_object", handler="encrypt.json", place=place.name)
        raise HandlerFailed(f"encrypt.json answered no object for {place.name}")
    found = cast("Object", answer).keys()
    if found != given.keys():
        log.error(
            "sealing.keys_changed",
            handler="encrypt.json",
            place=place.name,
            added=sorted(map(str, found - given.keys())),
            removed=sorted(given.keys() - found),
        )
        raise HandlerFailed(f"encrypt.json did not keep the keys of {place.name}")


def _check_json(value: Any, name: str, place: Place) -> None:
    """What PostgreSQL would not give back as it is must not be stored at all."""
    if not _is_json(value):
        log.error("sealing.no_json", handler="encrypt.json", place=place.name, key=name)
        raise HandlerFailed(f"encrypt.json answered what is no JSON for a key of {place.name}")


def _is_json(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, dict):
        members = cast("dict[Any, Any]", value)
        return all(isinstance(name, str) and _is_json(part) for name, part in members.items())
    if isinstance(value, list):
        return all(map(_is_json, cast("list[Any]", value)))
    if isinstance(value, float):
        return value == value and value not in (float("inf"), float("-inf"))
    return value is None or isinstance(value, bool | int)


def _copied(value: Any) -> Any:
    """Handlers may change what they are given in place."""
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in cast("Object", value).items()}
    if isinstance(value, list):
        return [_copied(part) for part in cast("list[Any]", value)]
    return value


async def _each(work: Callable[[Any], Awaitable[Any]], given: Sequence[Any]) -> list[Any]:
    """`work` on what is an object or a list in it, side by side; the rest as it is."""
    places = [at for at, part in enumerate(given) if isinstance(part, dict | list)]
    found = list(given)
    made = await asyncio.gather(*(work(given[at]) for at in places))
    for at, one in zip(places, made, strict=True):
        found[at] = one
    return found
