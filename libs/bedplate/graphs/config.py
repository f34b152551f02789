"""`langgraph.json`: which graphs a project has and what they need.

Paths in the file are relative to the file. What is wrong is refused with the key it stands under;
what is unknown is a notice, because a project may be written for a newer server or for another one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, ValidationError

from bedplate.graphs.project_keys import without_effect
from bedplate.kernel.errors import Refused

FILE_NAME = "langgraph.json"
# Set by images: the whole file, or its graphs, as JSON.
WHOLE, GRAPHS = "LANGGRAPH_CONFIG", "LANGSERVE_GRAPHS"

Model = TypeVar("Model", bound=BaseModel)

_BLOCKS = ("store", "checkpointer", "auth", "http", "webhooks", "priority", "encryption")
_JAVASCRIPT = (".ts", ".mts", ".cts", ".js", ".mjs", ".cjs", ".tsx", ".jsx")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class Reference(BaseModel):
    """Where an object of the project is: `name` in a Python file or in a module, never both."""

    model_config = ConfigDict(frozen=True)

    text: str
    file: Path | None
    module: str | None
    name: str


class GraphReference(Reference):
    description: str | None = None


class ProjectConfig(BaseModel):
    """A `langgraph.json` that was read and found right. The blocks for later parts are kept as they
    are.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    graphs: dict[str, GraphReference]
    import_paths: tuple[Path, ...]
    env: dict[str, str]
    store: dict[str, Any]
    checkpointer: dict[str, Any]
    auth: dict[str, Any]
    http: dict[str, Any]
    webhooks: dict[str, Any]
    priority: dict[str, Any]
    encryption: dict[str, Any]
    notices: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.path.parent

    def added_env(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables the file adds: never one that `environment` already has."""
        return {name: value for name, value in self.env.items() if name not in environment}


class Blocks(BaseModel):
    """What a service that never imports a graph is told: the file's blocks and the environment with
    the file's variables, over which the process's own win."""

    model_config = ConfigDict(frozen=True)

    env: dict[str, str]
    store: Any
    checkpointer: Any
    auth: Any
    http: Any
    webhooks: Any
    priority: Any
    encryption: Any


def given_blocks(path: Path | None, environ: Mapping[str, str]) -> Blocks:
    """The blocks of the file that `load_config` reads, whose graphs need not be on this machine. A
    variable as `LANGGRAPH_STORE` (JSON) counts instead of the block. Raises Refused.
    """
    document: dict[str, Any] = {}
    env = dict(environ)
    if path is None and environ.get(WHOLE, "").strip():
        path = Path(FILE_NAME)
    if path is not None:
        file = _file_at(path)
        document = _document(file, environ)
        env = {**_env(document.get("env"), file), **environ}
        document = {key: _block(document.get(key), key, file) for key in _BLOCKS}
    given = {key: json_variable(f"LANGGRAPH_{key.upper()}", env) for key in _BLOCKS}
    blocks = {
        key: document.get(key, {}) if value is None else value for key, value in given.items()
    }
    return Blocks(env=env, **blocks)


def json_variable(name: str, environ: Mapping[str, str]) -> Any:
    """The value of a variable that holds JSON; None if it is empty or missing. Raises Refused."""
    text = environ.get(name, "").strip()
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError as error:
        raise Refused(f"{name} is not valid JSON: {error}") from error


def parsed_block(key: str, block: Any, model: type[Model]) -> Model:
    """`block` as `model`. Raises Refused naming what is wrong in it."""
    try:
        return model.model_validate(block)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join([key, *map(str, first["loc"])])
        raise Refused(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> ProjectConfig:
    """Read `path`, a `langgraph.json` or the folder it is in; or what `LANGGRAPH_CONFIG` and
    `LANGSERVE_GRAPHS` say instead, as images set them. Raises Refused, naming the key at fault.
    """
    file = _file_at(path)
    document = _document(file, os.environ if environ is None else environ)
    return ProjectConfig(
        path=file,
        graphs=_graphs(document.get("graphs"), file),
        import_paths=_import_paths(document.get("dependencies"), file),
        env=_env(document.get("env"), file),
        **{block: _block(document.get(block), block, file) for block in _BLOCKS},
        notices=_notices(document, file),
    )


def notices_of(path: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What `load_config` notices; nothing of a file that it refuses."""
    file = _file_at(path)
    try:
        return _notices(_document(file, environ), file)
    except Refused:
        return ()


def _notices(document: dict[str, Any], file: Path) -> tuple[str, ...]:
    noticed = without_effect(document)
    env = document.get("env")
    if isinstance(env, str) and env and not (file.parent / env).is_file():
        noticed = [*noticed, f"'env' names the file {env}, which does not exist"]
    return tuple(f"{file.name}: {notice}" for notice in noticed)


def _file_at(path: Path) -> Path:
    return (path / FILE_NAME if path.is_dir() else path).absolute()


def _document(file: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The file's object. What the variables of an image say counts instead; `file` is then only
    the place that paths are relative to."""
    whole, graphs = json_variable(WHOLE, environ), json_variable(GRAPHS, environ)
    if whole is not None and not isinstance(whole, dict):
        raise Refused(f"{WHOLE} must hold a JSON object.")
    document = cast("dict[str, Any] | None", whole)
    if document is None:
        document = {} if graphs is not None and not file.exists() else _read(file)
    return document if graphs is None else {**document, "graphs": graphs}


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise Refused(f"There is no configuration file {file}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"The configuration file {file} cannot be read: {error}.") from error
    try:
        document: Any = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(f"{file} is not valid JSON: {error.msg} at {where}.") from None
    if not isinstance(document, dict):
        raise Refused(f"{file} must hold a JSON object.")
    return cast("dict[str, Any]", document)


def _graphs(entries: Any, file: Path) -> dict[str, GraphReference]:
    if not isinstance(entries, dict) or not entries:
        raise Refused(f"{file.name}: 'graphs' must map at least one graph id to a reference.")
    return {
        graph_id: _reference(entry, f"graphs.{graph_id}", file)
        for graph_id, entry in cast("dict[str, Any]", entries).items()
    }


def _reference(entry: Any, key: str, file: Path) -> GraphReference:
    described = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {"path": entry}
    text, description = described.get("path"), described.get("description")
    if not isinstance(text, str):
        raise Refused(f"{file.name}: '{key}' must be a text, or an object with the text 'path'.")
    if description is not None and not isinstance(description, str):
        raise Refused(f"{file.name}: '{key}.description' must be a text.")
    if key == "graphs.":
        raise Refused(f"{file.name}: a graph id in 'graphs' must not be empty.")
    reference = reference_of(text, key, file)
    return GraphReference(**reference.model_dump(), description=description)


def reference_of(text: str, key: str, file: Path) -> Reference:
    """What stands under `key` in the `langgraph.json` `file`, as a place. Raises Refused."""
    location, colon, name = text.rpartition(":")
    if not colon or not location or not name.isidentifier():
        raise Refused(
            f"{file.name}: '{key}' is {text!r};"
            " a reference is './path/file.py:name' or 'package.module:name'."
        )
    if location.endswith(_JAVASCRIPT):
        raise Refused(f"{file.name}: '{key}' is {text!r}; this server runs Python graphs only.")
    if location.endswith(".py") or "/" in location or "\\" in location:
        source = (file.parent / location).resolve()
        if not source.is_file():
            raise Refused(f"{file.name}: '{key}' names the file {source}, which does not exist.")
        return Reference(text=text, file=source, module=None, name=name)
    if not _MODULE.fullmatch(location):
        raise Refused(f"{file.name}: '{key}' names {location!r}, which is no module name.")
    return Reference(text=text, file=None, module=location, name=name)


def import_paths_of(file: Path) -> tuple[Path, ...]:
    """Where the code of a project is imported from, for whoever runs other code of it than graphs.
    Raises Refused."""
    return _import_paths(_document(file, os.environ).get("dependencies"), file)


def _import_paths(entries: Any, file: Path) -> tuple[Path, ...]:
    """The project's folder, then each local dependency as an installer would put it on the import
    path.
    """
    if entries is None:
        entries = []
    if not isinstance(entries, list) or not all(
        isinstance(entry, str) for entry in cast("list[Any]", entries)
    ):
        raise Refused(f"{file.name}: 'dependencies' must be a list of texts.")
    paths = [file.parent]
    for number, entry in enumerate(cast("list[str]", entries)):
        if not entry.startswith((".", "/")):
            continue
        folder = (file.parent / entry).resolve()
        if not folder.is_dir():
            raise Refused(
                f"{file.name}: 'dependencies[{number}]' names the folder {folder},"
                " which does not exist."
            )
        if (folder / "__init__.py").is_file():
            paths.append(folder.parent)
        paths.append(folder)
        if (folder / "src").is_dir():
            paths.append(folder / "src")
    return tuple(dict.fromkeys(paths))


def _env(entry: Any, file: Path) -> dict[str, str]:
    if entry is None or entry == "":
        return {}
    if isinstance(entry, str):
        # One that is not there is noticed: it is often kept out of repositories and images, and its
        # variables come from where the service runs.
        given = dotenv_values(file.parent / entry)
        return {name: value for name, value in given.items() if value is not None}
    if not isinstance(entry, dict):
        raise Refused(f"{file.name}: 'env' must be the path of a dotenv file or an object.")
    return {
        name: _env_value(value, name, file) for name, value in cast("dict[str, Any]", entry).items()
    }


def _env_value(value: Any, name: str, file: Path) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise Refused(f"{file.name}: 'env.{name}' must be a text or a number.")


def _block(entry: Any, key: str, file: Path) -> dict[str, Any]:
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise Refused(f"{file.name}: '{key}' must be an object.")
    return cast("dict[str, Any]", entry)
