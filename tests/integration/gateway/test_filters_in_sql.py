"""Filters mean the same for one object, judged in Python, and for a search, narrowed in SQL."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate_gateway.access.filters import filter_of

KEYS = st.sampled_from(["owner", "readers", "team", "$odd"])
# Few words, so that they meet; odd ones, because they come from clients.
WORDS = st.sampled_from(["ann", "bob", "", "'; --", "ü\U0001f600", '"', "\\"])
SCALARS = st.one_of(
    WORDS, st.booleans(), st.none(), st.integers(-2, 2), st.sampled_from([0.5, 1.0, 1e30])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=6,
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=4)
FIELDS = st.dictionaries(
    st.sampled_from(["owner", "readers", "team"]),
    st.one_of(
        VALUES,
        VALUES.map(lambda value: {"$eq": value}),
        SCALARS.map(lambda value: {"$contains": value}),
        st.lists(SCALARS, max_size=3).map(lambda values: {"$contains": values}),
    ),
    max_size=3,
)
INNER = st.one_of(
    FIELDS,
    st.builds(
        lambda how, branches: {how: branches},
        st.sampled_from(["$or", "$and"]),
        st.lists(FIELDS, min_size=2, max_size=3),
    ),
)
FILTERS = st.one_of(
    INNER,
    st.builds(
        lambda fields, how, branches: {**fields, how: branches},
        FIELDS,
        st.sampled_from(["$or", "$and"]),
        st.lists(INNER, min_size=2, max_size=3),
    ),
)


@pytest.mark.parametrize("after", [0, 3])
async def test_both_meanings_of_a_filter_agree(parts: Any, after: int) -> None:
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []

    @settings(
        max_examples=300,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
    @given(FILTERS, st.lists(METADATA, min_size=1, max_size=8))
    def collect(filter_: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        cases.append((filter_, rows))

    collect()
    agreed = {True: 0, False: 0}
    for filter_, rows in cases:
        found = filter_of(filter_)
        condition = found.on("m", after=after + 1)
        texts = [json.dumps(row) for row in rows]
        padding = ["x"] * after
        unused = "".join(f" AND ${number + 2}::text IS NOT NULL" for number in range(after))
        judged = await parts.pool.fetch(
            f"SELECT coalesce({condition.text}, false) AS is_met"
            " FROM unnest($1::text[]) WITH ORDINALITY AS rows (text, n)"
            f" CROSS JOIN LATERAL (SELECT rows.text::jsonb AS m) AS parsed WHERE true{unused}"
            " ORDER BY n",
            texts,
            *padding,
            *condition.values,
        )
        for row, record in zip(rows, judged, strict=True):
            assert found.matches(row) is record["is_met"], (filter_, row)
            agreed[record["is_met"]] += 1
    # The words are few enough for both answers to be common.
    assert min(agreed.values()) > 20, agreed
