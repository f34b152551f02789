"""`docs/configuration.md`: written from the settings models and the table of project keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module

from bedplate.backbone import BackboneSettings, StreamSettings
from bedplate.chassis.settings import Settings, Variable, variables
from bedplate.foreign import VENDOR, WITHOUT_EFFECT
from bedplate.graphs.project_keys import KEYS, Fate, Key

SERVICES = ("gateway", "run-scheduler", "executor", "webhook-dispatcher")
_FATES = {
    Fate.BUILD: "Accepted; they only matter to whoever builds an image:",
    Fate.NOTICE: "Accepted without effect; a notice at start and `bedplate doctor` name them:",
    Fate.REFUSED: "Refused at start:",
}
# Read besides the settings models: variables that hold a block, and what is left to libraries.
_BLOCKS = (
    ("LANGGRAPH_CONFIG", "the whole `langgraph.json`, instead of the file"),
    ("LANGSERVE_GRAPHS", "its `graphs`"),
    ("LANGGRAPH_STORE", "its `store`"),
    ("LANGGRAPH_CHECKPOINTER", "its `checkpointer`"),
    ("LANGGRAPH_AUTH", "its `auth`"),
    ("LANGGRAPH_HTTP", "its `http`"),
    ("LANGGRAPH_WEBHOOKS", "its `webhooks`"),
    ("LANGGRAPH_ENCRYPTION", "its `encryption`"),
    ("LANGGRAPH_PRIORITY", "its `priority`"),
    ("LANGGRAPH_THREAD_TTL", "its `checkpointer.ttl`, or only the minutes"),
)
_OTHERS = (
    ("LANGGRAPH_AES_KEY", "16, 24 or 32 bytes: [encrypts](encryption.md) checkpoints"),
    ("LANGGRAPH_AES_JSON_KEYS", "names of keys whose values it encrypts in rows, with commas"),
    ("REDIS_URI", "Valkey or Redis, optional; also `REDIS_URI_CUSTOM`"),
    ("LANGSMITH_*, LANGCHAIN_*, OTEL_*", "left to the libraries that read them in your graphs"),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "certificates that receivers of webhooks are checked with"),
    ("NO_COLOR", "no colours on a terminal"),
)
_PAGE = """\
# Configuration

Written by `bedplate configuration` from the code of this version (`make contracts`).

Every service reads its variables once, at start. The first name in a row is the service's own and
wins over the others, from left to right; an empty variable counts as not set. What is wrong is told
by variable and limit, and the service ends with exit code 78. Lists are written `a,b,c` or as JSON.
Names without `BEDPLATE_` are those of the product we replace.

Settings may also stand in the `env` of `langgraph.json`, for `bedplate dev` and `bedplate serve`;
the process's own environment wins. `bedplate doctor` checks all of it.

## All services

Each by `BEDPLATE_<SERVICE>_…` for one service, or by the other names for all.

{common}

## Streams

Read by `bedplate migrate`, `bedplate dev` and the run-scheduler.

{streams}

{services}
## Variables that hold a block of `langgraph.json`

JSON; they win over the file.

{blocks}

## Other variables

{others}

## Keys of `langgraph.json`

Paths are relative to the file. Within a block an unknown key is refused; at the top level it is
named in a notice. A reference is `./path/file.py:name` or `package.module:name`.

{keys}

{fates}

## Variables without effect

Named in one notice at start (`configuration.noticed`) and by `bedplate doctor`.

{foreign}

These concern the vendor's cloud or the inside of its server: {vendor}.
"""


def page() -> str:
    """The whole page. The same source gives the same text on every machine."""
    models = {name: _model(name) for name in SERVICES}
    common = {variable.field for variable in variables(_Common)}
    shared = common | {variable.field for variable in variables(StreamSettings)}
    services = [
        f"## {name}\n\n{_variables(model, without=shared)}\n" for name, model in models.items()
    ]
    streams = set(StreamSettings.model_fields) - set(Settings.model_fields)
    return _PAGE.format(
        common=_variables(_Common, is_common=True),
        streams=_variables(StreamSettings, only=streams, is_common=True),
        services="\n".join(services),
        blocks=_table(("variable", "holds"), ((f"`{name}`", text) for name, text in _BLOCKS)),
        others=_table(("variable", "meaning"), ((_names(name), text) for name, text in _OTHERS)),
        keys=_keys(key for key in KEYS if key.fate is Fate.SERVED),
        fates="\n\n".join(f"{told}\n\n{_keys(_with(fate))}" for fate, told in _FATES.items()),
        foreign=_table(
            ("variable", "instead"),
            ((f"`{one.pattern}`", one.instead) for one in WITHOUT_EFFECT if one.instead != VENDOR),
        ),
        vendor=", ".join(f"`{one.pattern}`" for one in WITHOUT_EFFECT if one.instead == VENDOR),
    )


class _Common(BackboneSettings):
    service = "common"


def _model(service: str) -> type[Settings]:
    # By name, because libs may not import a service.
    return import_module(f"bedplate_{service.replace('-', '_')}.settings").Settings


def _with(fate: Fate) -> list[Key]:
    return [key for key in KEYS if key.fate is fate]


def _variables(
    model: type[Settings],
    *,
    only: set[str] | None = None,
    without: Iterable[str] = (),
    is_common: bool = False,
) -> str:
    left_out = set(without)
    return _table(
        ("variable", "default", "meaning"),
        (
            _row(variable, is_common=is_common)
            for variable in variables(model)
            if variable.field not in left_out and (only is None or variable.field in only)
        ),
    )


def _row(variable: Variable, *, is_common: bool) -> tuple[str, str, str]:
    own = f"BEDPLATE_<SERVICE>_{variable.field.upper()}" if is_common else variable.name
    names = ", ".join(f"`{name}`" for name in (own, *variable.other_names))
    limits = f" ({variable.limits})" if variable.limits else ""
    default = "none" if variable.default in (None, "", "None") else f"`{variable.default}`"
    return names, default, f"{variable.meaning}{limits}"


def _keys(keys: Iterable[Key]) -> str:
    return _table(
        ("key", "default", "meaning"),
        ((f"`{key.name}`", key.default, key.meaning) for key in keys),
    )


def _names(text: str) -> str:
    return ", ".join(f"`{name}`" for name in text.split(", "))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
