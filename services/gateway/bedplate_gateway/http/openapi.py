"""The API's document, made of the table that is served: it cannot tell of a path that is not
there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bedplate_proto.vocabulary import CancelAction, RunStatus

from .. import shapes
from .paths import Path, Shape

Schema = dict[str, Any]
_REF = "#/components/schemas/{model}"
_PART = re.compile(r"{(\w+)}")
_ABOUT_ERRORS = {
    400: "An argument cannot be used.",
    404: "There is no such thing.",
    409: "The thing is in a state that does not allow this now.",
    413: "The body is too large.",
    422: "The request is not of this form; `detail` names the field.",
    500: "Something that is needed cannot be used.",
    501: "This server is set up in a way that cannot answer that.",
    503: "Not at the moment; `Retry-After` tells when to try again.",
}
_NAMES = ("assistant_id", "namespace")


def document_of(paths: Sequence[Path], *, version: str, prefix: str = "") -> Schema:
    """OpenAPI 3.1, of an API that is served below `prefix`."""
    described: dict[str, Schema] = {}
    for path in paths:
        described.setdefault(path.path, {})[path.method.lower()] = _operation(path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bedplate", "version": version},
        **({"servers": [{"url": prefix}]} if prefix else {}),
        "paths": described,
        "components": {"schemas": _schemas(paths)},
    }


def with_security(document: Schema, told: Mapping[str, Any]) -> Schema:
    """The document with the project's `auth.openapi`: schemes, requirements, and operations whose
    members win over ours."""
    components = {**document["components"]}
    if schemes := told.get("securitySchemes"):
        components["securitySchemes"] = schemes
    paths: Schema = {**document["paths"]}
    for path, operations in told.get("paths", {}).items():
        known = paths.get(path, {})
        paths[path] = {
            **known,
            **{method: {**known.get(method, {}), **more} for method, more in operations.items()},
        }
    security = {"security": told["security"]} if "security" in told else {}
    return {**document, **security, "components": components, "paths": paths}


def with_custom(document: Schema, told: Mapping[str, Any]) -> Schema:
    """The document with that of the project's own app, whose routes come first."""
    paths: Schema = {**document["paths"]}
    for path, operations in told.get("paths", {}).items():
        paths[path] = {**paths.get(path, {}), **operations}
    components: Schema = {**document["components"]}
    for kind, named in told.get("components", {}).items():
        components[kind] = {**components.get(kind, {}), **named}
    return {**document, "components": components, "paths": paths}


def _schemas(paths: Sequence[Path]) -> Schema:
    forms = {path.body for path in paths if path.body is not None}
    answers = {path.answer for path in paths if isinstance(path.answer, type)}
    answers |= {shapes.Problem, shapes.Item}
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((form, "validation") for form in forms),
        *((answer, "serialization") for answer in answers),
    ]
    models.sort(key=lambda model: model[0].__name__)
    _, schemas = models_json_schema(models, ref_template=_REF)
    found: Schema = schemas.get("$defs", {})
    for path in paths:
        if path.is_selected and isinstance(path.answer, type):
            whole = found[path.answer.__name__]
            found[_part(path.answer)] = {
                **{name: value for name, value in whole.items() if name != "required"},
                "title": _part(path.answer),
            }
    for words in (RunStatus, CancelAction):
        found[words.__name__] = TypeAdapter(words).json_schema()
    return dict(sorted(found.items()))


def _operation(path: Path) -> Schema:
    responses: dict[str, Schema] = {str(path.status): _answer(path)}
    for status, about in path.others.items():
        responses[str(status)] = {"description": about}
    for status in path.errors:
        responses[str(status)] = {
            "description": _ABOUT_ERRORS[status],
            "content": {"application/json": {"schema": _error_schema(path, status)}},
        }
    operation: Schema = {
        "operationId": _id(path),
        "summary": path.about,
        "tags": [path.tag],
        "responses": responses,
    }
    if parameters := _parameters(path):
        operation["parameters"] = parameters
    if path.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(path.body)}},
        }
    return operation


def _answer(path: Path) -> Schema:
    described: Schema = {"description": "Done." if path.answer is None else path.about}
    if path.answer is not None:
        schema = _schema(path.answer)
        if path.is_selected and isinstance(path.answer, type):
            schema = {"$ref": _REF.format(model=_part(path.answer))}
        if path.is_list:
            schema = {"type": "array", "items": schema}
        described["content"] = {path.media: {"schema": schema}}
        described["content"] |= {media: {"schema": {}} for media in path.other_media}
    if path.headers:
        described["headers"] = {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in path.headers.items()
        }
    return described


def _error_schema(path: Path, status: int) -> Schema:
    if status == 400 and path.refusal is not None:
        return _schema(path.refusal)
    return _schema(path.answer if status == 500 else shapes.Problem)


def _part(model: type[BaseModel]) -> str:
    return f"{model.__name__}Part"


def _parameters(path: Path) -> list[Schema]:
    parts: list[Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"}
            if name in _NAMES
            else {"type": "string", "format": "uuid"},
        }
        for name in _PART.findall(path.path)
    ]
    return parts + [
        {
            "name": query.name,
            "in": query.place,
            "description": query.about,
            "required": query.is_required,
            "schema": dict(query.schema),
        }
        for query in path.query
    ]


def _schema(shape: Shape) -> Schema:
    if isinstance(shape, type):
        return {"$ref": _REF.format(model=shape.__name__)}
    return dict(shape or {})


def _id(path: Path) -> str:
    words = [word for word in re.split(r"[/{}_]+", path.path) if word]
    return "_".join([path.method.lower(), *words]) or path.method.lower()
