"""Development: whoever has imported something of the project starts anew when it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.devstack.reloading import Reloading
from bedplate.testing.eventually import eventually


@pytest.mark.parametrize(
    ("block", "services"),
    [
        ('"encryption": {"path": "./own.py:own"}', ["webhook-dispatcher", "gateway"]),
        ('"auth": {"path": "./own.py:own"}', ["gateway"]),
        ('"http": {"app": "./own.py:own"}', ["gateway"]),
    ],
)
async def test_services_start_anew_whose_code_has_changed(
    tmp_path: Path, block: str, services: list[str]
) -> None:
    manifest = tmp_path / "langgraph.json"
    manifest.write_text(f'{{"graphs": {{"g": "./g.py:g"}}, {block}}}')
    with Reloading(manifest, {}) as reloading:

        def due() -> list[str]:
            # Until it is seen: nobody knows when the watch has begun.
            (tmp_path / "own.py").write_text("own = 1\n")
            return reloading.due()

        await eventually(due, equals=services, within_s=20, every_s=0.5)
