"""What the dispatcher says to an operator whose settings cannot work."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

EXIT_CONFIGURATION = 78


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("WEBHOOK_SECRET", "sesame-open", "must begin with whsec_"),
        ("WEBHOOK_SECRET", "whsec_c2VzYW1lLW9wZW4=", "24 to 64 bytes"),
        ("LANGGRAPH_WEBHOOKS", '{"url": {"allowed_domain": []}}', "webhooks.url.allowed_domain"),
        ("LANGGRAPH_WEBHOOKS", '{"headers": {"X": "${{ env.PATH }}"}}', "webhooks.headers.X: PATH"),
        ("LANGGRAPH_CONFIG_PATH", "nowhere.json", "nowhere.json"),
        ("BEDPLATE_WEBHOOK_DISPATCHER_APP_URL", "127.0.0.1:2024", "APP_URL"),
        ("BEDPLATE_WEBHOOK_DISPATCHER_RETRY_WINDOW_S", "-1", "RETRY_WINDOW_S"),
    ],
)
def test_a_setting_that_cannot_work_ends_the_start_with_a_clear_text(
    variable: str, value: str, told: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "bedplate_webhook_dispatcher"],
        env={"PATH": os.environ["PATH"], variable: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == EXIT_CONFIGURATION, ended.stderr
    assert told in ended.stderr and "Traceback" not in ended.stderr
    assert "sesame" not in ended.stderr and "c2Vz" not in ended.stderr
