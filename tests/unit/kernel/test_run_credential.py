"""A credential speaks for one attempt, and only one who has the key can make it."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.run_credential import issue, read

KEY = b"a key of thirty-two bytes, or so"


@given(st.uuids(), st.integers(min_value=1, max_value=2**31 - 1))
def test_what_was_issued_names_its_attempt(run_id: UUID, attempt: int) -> None:
    assert read(KEY, issue(KEY, run_id, attempt)) == (run_id, attempt)


@given(st.text(max_size=300))
def test_what_was_not_issued_names_nobody(text: str) -> None:
    assert read(KEY, text) is None


@pytest.mark.parametrize("change", ["run", "attempt", "signature", "key", "longer"])
def test_a_changed_credential_names_nobody(change: str) -> None:
    run_id = uuid4()
    credential = issue(KEY, run_id, 1)
    _, attempt, signature = credential.split(".")
    changed = {
        "run": f"{uuid4()}.{attempt}.{signature}",
        "attempt": f"{run_id}.2.{signature}",
        "signature": credential[:-1] + ("0" if credential[-1] != "0" else "1"),
        "key": issue(b"another", run_id, 1),
        "longer": credential + "0",
    }[change]
    assert read(KEY, changed) is None
