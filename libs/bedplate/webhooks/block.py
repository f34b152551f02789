"""The `webhooks` block: read from `LANGGRAPH_WEBHOOKS` (JSON), or else from `langgraph.json`.

Unlike other blocks it refuses keys it does not know: a misspelt rule that is ignored is an open
door.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bedplate.graphs.config import given_blocks, parsed_block
from bedplate.kernel.errors import Refused

from .rules import WITHOUT_BLOCK, UrlRules

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}")
_REFERENCE = re.compile(r"\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*")
# Ours, or the connection's.
_RESERVED = frozenset(
    {
        *("host", "content-length", "content-type", "transfer-encoding", "connection", "te"),
        *("upgrade", "trailer", "expect", "keep-alive", "proxy-authorization"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
)


class WebhooksBlock(BaseModel):
    """As it stands in the file. `headers` may hold `${{ env.NAME }}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env_prefix: str = Field(default="LG_WEBHOOK_", min_length=1)
    headers: dict[str, str] = {}
    allowed_fields: list[str] | None = None
    url: UrlRules = WITHOUT_BLOCK

    @field_validator("headers")
    @classmethod
    def _may_be_set(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not _HEADER.fullmatch(name):
                raise ValueError(f"{name!r} is no header name")
            if name.lower() in _RESERVED:
                raise ValueError(f"{name} is set by the server")
        return headers

    def filled_headers(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The headers as they are sent. Raises `Refused` for what cannot be filled in."""
        return {name: self._filled(name, text, environment) for name, text in self.headers.items()}

    def _filled(self, header: str, text: str, environment: Mapping[str, str]) -> str:
        value = _TEMPLATE.sub(lambda found: self._variable(found, header, environment), text)
        if not value.isprintable() or not value.isascii():
            raise Refused(f"webhooks.headers.{header}: must be printable ASCII on one line")
        return value

    def _variable(self, found: re.Match[str], header: str, environment: Mapping[str, str]) -> str:
        reference = _REFERENCE.fullmatch(found[1])
        if reference is None:
            raise Refused(
                f"webhooks.headers.{header}: {found[0]} is no template, only ${{{{ env.NAME }}}} is"
            )
        name = reference[1]
        if not name.startswith(self.env_prefix):
            raise Refused(
                f"webhooks.headers.{header}: {name} does not begin with {self.env_prefix}"
                " (webhooks.env_prefix)"
            )
        if name not in environment:
            raise Refused(f"webhooks.headers.{header}: the variable {name} is not set")
        return environment[name]


@dataclass(frozen=True)
class Given:
    """The block, what its templates may look at, and whether webhooks are sent at all
    (`http.disable_webhooks`)."""

    block: WebhooksBlock
    environment: Mapping[str, str]
    is_enabled: bool = True


def given_block(file: Path | None, environ: Mapping[str, str]) -> Given:
    """`file` is a `langgraph.json`; variables win over it. Raises `Refused`, naming what is
    wrong."""
    blocks = given_blocks(file, environ)
    # An empty `url` block is one: the strict defaults count.
    block = parsed_block("webhooks", blocks.webhooks, WebhooksBlock)
    http = blocks.http
    is_disabled = isinstance(http, dict) and bool(http.get("disable_webhooks", False))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return Given(block, blocks.env, is_enabled=not is_disabled)
