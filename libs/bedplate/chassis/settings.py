"""Settings: one frozen model per service, read once from the environment.

A field is read from `BEDPLATE_<SERVICE>_<FIELD>` first, then from the extra names it declares with
`Field(json_schema_extra={"env": ["DATABASE_URI"]})`, in that order. A default that depends on the
machine is described by `"default_text"` there. An empty variable counts as not set, because compose
files pass on variables that nobody filled. Lists are written `a,b,c` or as JSON, objects as JSON. A
field is secret when its type is `SecretStr` or it says `json_schema_extra={"secret": True}`; its
value is never shown, neither in an error nor in `shown()` nor in the repr.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretBytes,
    SecretStr,
    ValidationError,
)
from pydantic.fields import FieldInfo

from .errors import SettingsError

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "pretty", "auto"]
_LIMITS = {
    "gt": "more than {}",
    "ge": "at least {}",
    "lt": "less than {}",
    "le": "at most {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
}
_SEQUENCES = (list, tuple, set, frozenset)
_PASSWORD_IN_URL = re.compile(r"//[^/@\s]+@")


# What other servers call these; a variable that many programs read must not stop ours.
_LEVELS = {"warn": "warning", "critical": "error", "fatal": "error", "trace": "debug"}
_FORMATS = {"true": "json", "1": "json", "false": "auto", "0": "auto"}


def _level(value: object) -> object:
    return _LEVELS.get(value.lower(), value.lower()) if isinstance(value, str) else value


def _format(value: object) -> object:
    return _FORMATS.get(value.lower(), value.lower()) if isinstance(value, str) else value


@dataclass(frozen=True)
class Variable:
    """One setting as an operator sees it."""

    field: str
    name: str
    other_names: tuple[str, ...]
    meaning: str
    kind: str
    limits: str
    default: str | None
    is_required: bool
    is_secret: bool

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they are looked up."""
        return (self.name, *self.other_names)


class Settings(BaseModel):
    """Subclass it, set `service`, and describe every field: meaning, unit, limit."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True
    )

    service: ClassVar[str]
    """The name as deployed, e.g. "run-scheduler"."""

    log_level: Annotated[LogLevel, BeforeValidator(_level)] = Field(
        "info",
        description="The least severe records that are written.",
        json_schema_extra={"env": ["BEDPLATE_LOG_LEVEL", "LOG_LEVEL"]},
    )
    log_format: Annotated[LogFormat, BeforeValidator(_format)] = Field(
        "auto",
        description="json: one object per line; pretty: for people; auto: pretty on a terminal."
        " `true` is json, `false` is auto.",
        json_schema_extra={"env": ["BEDPLATE_LOG_FORMAT", "LOG_JSON"]},
    )
    ops_host: str = Field(
        "127.0.0.1",
        description="Address on which /healthz, /readyz and /metrics are served.",
        json_schema_extra={"env": ["BEDPLATE_OPS_HOST"]},
    )
    ops_port: int = Field(
        0, ge=0, le=65535, description="Port of the ops endpoint; 0 picks a free one and logs it."
    )
    stop_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds from SIGTERM until what has not stopped by itself is cut off.",
        json_schema_extra={"env": ["BEDPLATE_STOP_S"]},
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read and check all variables at once; raises `SettingsError` naming every wrong one."""
        given = os.environ if environ is None else environ
        known = {variable.field: variable for variable in variables(cls)}
        used: dict[str, tuple[str, str]] = {}
        values: dict[str, Any] = {}
        problems: list[str] = []
        for field, variable in known.items():
            name = next((name for name in variable.names if given.get(name, "").strip()), None)
            if name is None:
                continue
            text = given[name].strip()
            used[field] = (name, text)
            try:
                values[field] = _parsed(text, cls.model_fields[field].annotation)
            except ValueError as error:
                problems.append(_problem(variable, used, f"must be JSON or a list a,b,c: {error}"))
        if problems:
            raise SettingsError(problems)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                field = str(detail["loc"][0]) if detail["loc"] else None
                text = detail["msg"].removeprefix("Value error, ")
                text = text.replace("Input should be", "must be", 1)
                if field is None:
                    problems.append(f"settings of {cls.service}: {_without_password(text)}")
                else:
                    problems.append(_problem(known[field], used, text))
            # Without the cause: pydantic's own text would show what was given, secrets included.
            raise SettingsError(problems) from None

    def shown(self) -> dict[str, str]:
        """Every field as text for people, secrets masked."""
        secret = {variable.field for variable in variables(type(self)) if variable.is_secret}
        return {
            field: "***" if field in secret else _without_password(str(getattr(self, field)))
            for field in type(self).model_fields
        }

    def __repr_args__(self) -> Any:
        return list(self.shown().items())


def variables(settings: type[Settings]) -> list[Variable]:
    """Everything that `settings` reads from the environment, in the order of its fields."""
    prefix = f"BEDPLATE_{settings.service.upper().replace('-', '_')}_"
    found: list[Variable] = []
    for field, info in settings.model_fields.items():
        given = info.json_schema_extra
        extra = cast("Mapping[str, Any]", given) if isinstance(given, dict) else {}
        is_secret = bool(extra.get("secret")) or _is_secret(info.annotation)
        default = None
        if not info.is_required():
            value = info.get_default(call_default_factory=True, validated_data={})
            default = "***" if is_secret and value else _without_password(_text(value))
            default = str(extra.get("default_text", default))
        found.append(
            Variable(
                field=field,
                name=prefix + field.upper(),
                other_names=tuple(extra.get("env", ())),
                meaning=info.description or "",
                kind=_kind(info.annotation),
                limits=_limits(info),
                default=default,
                is_required=info.is_required(),
                is_secret=is_secret,
            )
        )
    return found


def early_log(environ: Mapping[str, str]) -> tuple[str, str]:
    """Level and form of the log until the settings are read, which tell what is wrong in them."""
    chosen: list[str] = []
    for field, read, known in (
        ("log_level", _level, get_args(LogLevel)),
        ("log_format", _format, get_args(LogFormat)),
    ):
        info = Settings.model_fields[field]
        extra = cast("Mapping[str, Any]", info.json_schema_extra)
        given = (str(read(environ.get(name, "").strip())) for name in extra["env"])
        chosen.append(next((text for text in given if text in known), str(info.default)))
    return chosen[0], chosen[1]


def unknown_variables(settings: type[Settings], environ: Mapping[str, str]) -> list[str]:
    """Names in `environ` that look like settings of this service and are none: misspelt, mostly."""
    prefix = f"BEDPLATE_{settings.service.upper().replace('-', '_')}_"
    known = {name for variable in variables(settings) for name in variable.names}
    return sorted(name for name in environ if name.startswith(prefix) and name not in known)


def _problem(variable: Variable, used: Mapping[str, tuple[str, str]], text: str) -> str:
    limits = f" [{variable.limits}]" if variable.limits else ""
    meaning = f" ({variable.meaning}{limits})" if variable.meaning else limits
    if variable.field not in used:
        return f"{' or '.join(variable.names)} must be set{meaning}"
    name, value = used[variable.field]
    if variable.is_secret:
        # A validator of ours may quote the value it refuses.
        return f"{name} {text.replace(value, '***')}{meaning}"
    return f"{name} is {_without_password(value)!r} and {_without_password(text)}{meaning}"


def _without_password(text: str) -> str:
    return _PASSWORD_IN_URL.sub("//***@", text)


def _parsed(text: str, annotation: Any) -> Any:
    origins = {get_origin(part) or part for part in (annotation, *get_args(annotation))}
    is_sequence = any(kind in origins for kind in _SEQUENCES)
    is_object = any(
        isinstance(kind, type) and issubclass(kind, (dict, BaseModel)) for kind in origins
    )
    if (is_sequence and text.startswith("[")) or (is_object and text.startswith("{")):
        return json.loads(text)
    if is_sequence:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _is_secret(annotation: Any) -> bool:
    return any(part in (SecretStr, SecretBytes) for part in (annotation, *get_args(annotation)))


def _text(value: Any) -> str:
    """As it would be written into a variable."""
    if isinstance(value, _SEQUENCES):
        return ",".join(map(_text, cast("Sequence[Any]", value)))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _limits(info: FieldInfo) -> str:
    # By attribute: the classes of these rules belong to a dependency of pydantic, not of ours.
    return ", ".join(
        words.format(limit)
        for rule in info.metadata
        for attribute, words in _LIMITS.items()
        if (limit := getattr(rule, attribute, None)) is not None
    )
