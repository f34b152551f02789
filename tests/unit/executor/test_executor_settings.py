"""The executor's settings, as far as one follows from another."""

from __future__ import annotations

import pytest

from bedplate.chassis.settings import SettingsError
from bedplate_executor.settings import Settings


def test_stopping_takes_longer_than_the_drain_it_waits_for() -> None:
    settings = Settings.from_env({"BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "180"})
    assert (settings.drain_s, settings.stop_s) == (180.0, 230.0)
    given = Settings.from_env({"BEDPLATE_EXECUTOR_DRAIN_S": "5", "BEDPLATE_STOP_S": "7"})
    assert (given.drain_s, given.stop_s) == (5.0, 7.0)
    assert Settings.from_env({}).stop_s == 30.0


def test_a_drain_that_is_no_number_is_told_by_its_name() -> None:
    with pytest.raises(SettingsError, match="BEDPLATE_EXECUTOR_DRAIN_S is 'long'"):
        Settings.from_env({"BEDPLATE_EXECUTOR_DRAIN_S": "long"})
