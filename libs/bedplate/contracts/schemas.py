"""The published messages, and each one's JSON Schema 2020-12."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from bedplate_proto import subjects
from bedplate_proto.envelope import CloudEvent, Message, OrderError

Model = type[BaseModel]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def published_messages() -> list[Model]:
    """Every message and answer of the table of subjects, and the two envelopes, by name."""
    found: set[Model] = {CloudEvent, OrderError}
    for subject in subjects.ALL:
        found.add(subject.message)
        if subject.answer is not None:
            found.add(subject.answer)
    return sorted(found, key=published_name)


def version_of(message: Model) -> int:
    """The envelope's version is that of CloudEvents, and its first of ours."""
    return message.schema_version if issubclass(message, Message) else 1


def published_name(message: Model) -> str:
    """`RunReady` → `run_ready.v1`; a second version is a class `RunReadyV2` → `run_ready.v2`."""
    version = version_of(message)
    plain = message.__name__.removesuffix(f"V{version}")
    return f"{_WORD.sub('_', plain).lower()}.v{version}"


def schema_of(message: Model) -> dict[str, Any]:
    """What a reader must accept. Unknown fields are allowed: a newer publisher may add some."""
    name = published_name(message)
    return {"$schema": DIALECT, "$id": f"urn:bedplate:{name}", **message.model_json_schema()}
