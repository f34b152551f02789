"""`docs/configuration.md` says what the code reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from bedplate.contracts.configuration import page
from bedplate.graphs.persistence import CheckpointerBlock, StoreBlock
from bedplate.graphs.project_keys import KEYS
from bedplate.webhooks.block import WebhooksBlock
from bedplate_gateway.http_block import HttpBlock

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_source_says_now() -> None:
    assert PAGE.read_text("utf-8") == page(), (
        "docs/configuration.md is stale: run `make contracts` and commit what changed"
    )


def _keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        parts = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = [one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)]
        if inner:
            yield from _keys(inner[0], f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}"


@pytest.mark.parametrize(
    ("model", "block"),
    [
        (StoreBlock, "store"),
        (CheckpointerBlock, "checkpointer"),
        (WebhooksBlock, "webhooks"),
        (HttpBlock, "http"),
    ],
)
def test_every_key_that_a_block_takes_is_on_the_page(model: type[BaseModel], block: str) -> None:
    listed = {key.name for key in KEYS}
    for key in _keys(model, block):
        assert key in listed or any(name.startswith(f"{key}.") for name in listed), key
