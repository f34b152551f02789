"""What a request says about its keys, and what becomes of rows on their way in and out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bedplate.graphs.sealing import Place, Sealing
from bedplate.testing.orders import create_run
from bedplate_gateway.access.access import Access
from bedplate_gateway.access.filters import filter_of
from bedplate_gateway.errors import Unprocessable
from bedplate_gateway.extraction import extracted, extraction_of, roots_of
from bedplate_gateway.http.encryption import CONTEXT_BYTES_MAX, given_context
from bedplate_gateway.sealer import Sealer


class Backwards:
    """Texts backwards; `seen` are the contexts."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    is_prompt = False

    def leaves(self, text: str) -> bool:
        return False

    async def encrypt(self, place: Place, given: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(place.metadata)
        return {name: v[::-1] if isinstance(v, str) else v for name, v in given.items()}

    async def decrypt(self, place: Place, given: dict[str, Any], sealed: Any) -> dict[str, Any]:
        return {name: v[::-1] if name in sealed else v for name, v in given.items()}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        encoded('{"tenant": "ä?>"}'),
        encoded('{"tenant": "ä?>"}').rstrip("="),
        base64.urlsafe_b64encode('{"tenant": "ä?>"}'.encode()).decode(),
        " " + encoded('{"tenant": "ä?>"}'),
    ],
)
def test_a_context_is_read_in_every_usual_spelling(header: str) -> None:
    assert given_context(header) == {"tenant": "ä?>"}


def test_without_a_header_there_is_none() -> None:
    assert given_context(None) == {}


@pytest.mark.parametrize(
    "header",
    [
        "", "%", encoded("[]"), encoded("null"), encoded("{"), encoded('{"a": NaN}'),
        encoded('{"a": "\\u0000"}'), encoded(json.dumps({"a": "x" * CONTEXT_BYTES_MAX})),
    ],
)  # fmt: skip
def test_what_is_no_context_is_refused_by_name(header: str) -> None:
    with pytest.raises(Unprocessable, match="X-Encryption-Context"):
        given_context(header)


async def test_an_order_is_sealed_in_its_own_context() -> None:
    handlers = Backwards()
    order = create_run(metadata='{"why": "because"}', encryption_context='{"tenant": "acme"}')
    sealed = await Sealer(Sealing({"own": handlers}, sealer="own")).order(order)
    assert "because" not in sealed.model_dump_json()
    assert {str(context) for context in handlers.seen} == {"{'tenant': 'acme'}"}
    assert (sealed.run_id, sealed.encryption_context) == (order.run_id, order.encryption_context)


async def test_what_the_callers_filter_looks_at_must_stay_plain() -> None:
    sealer = Sealer(Sealing({"own": Backwards()}, sealer="own"))
    own = filter_of({"$or": [{"owner": "ann"}, {"readers": {"$contains": "ann"}}]})
    with pytest.raises(Unprocessable, match=r"metadata\.owner: must not be encrypted"):
        await sealer.text({"owner": "ann"}, "thread", "metadata", by=Access(), found=own)
    stored = await sealer.text({"x": "ann"}, "thread", "metadata", by=Access(), found=own)
    assert await sealer.opened(stored) == '{"x":"ann"}'


async def test_where_nobody_seals_everything_is_stored_as_it_is() -> None:
    order = create_run(metadata='{"a":  1.10}')
    for sealer in (Sealer(), Sealer(Sealing({}, sealer=None))):
        assert await sealer.order(order) is order
        assert await sealer.text({"a": 1}, "thread", "metadata", by=Access()) == '{"a":1}'


def test_paths_find_the_same_here_as_in_the_database() -> None:
    """`#>` of PostgreSQL; `tests/acceptance/test_api_threads.py` asks it the same way."""
    wanted = extraction_of(
        {"last": "values.a[-1].b", "none": "values.a[9]", "word": "values.a.x", "all": "metadata"}
    )
    assert [one["alias"] for one in roots_of(wanted)] == ["values", "metadata"]
    found = extracted({"values": {"a": [{"b": 1}, {"b": 2}]}, "metadata": {"m": 1}}, wanted)
    assert found == {"last": 2, "none": None, "word": None, "all": {"m": 1}}
