"""Settings are read from the environment, and what is wrong is told by variable and limit."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import Field, SecretStr, ValidationError, field_validator

from bedplate.chassis.settings import (
    Settings,
    SettingsError,
    early_log,
    unknown_variables,
    variables,
)


class DepotSettings(Settings):
    service: ClassVar[str] = "run-depot"
    database_url: str = Field(
        "postgresql://localhost/bedplate",
        description="Where the truth is.",
        json_schema_extra={"env": ["DATABASE_URI", "POSTGRES_URI"]},
    )
    slots: int = Field(4, ge=1, le=64, description="Runs at a time.")
    mode: Literal["fast", "safe"] = Field("safe", description="How to go.")
    pools: tuple[str, ...] = Field(("default",), description="Pools served.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of this host.")
    key: SecretStr | None = Field(None, description="Key of the depot.")
    token: str = Field("", description="Token.", json_schema_extra={"secret": True})

    @field_validator("token")
    @classmethod
    def _quotes_what_it_refuses(cls, value: str) -> str:
        if value.startswith("bad"):
            raise ValueError(f"{value} does not look like a token")
        return value


class NeedySettings(Settings):
    service: ClassVar[str] = "needy"
    url: str = Field(description="Where to go.", json_schema_extra={"env": ["URL"]})


def _problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        DepotSettings.from_env(environ)
    return caught.value.problems


def test_without_variables_the_defaults_hold() -> None:
    settings = DepotSettings.from_env({})
    assert (settings.slots, settings.log_level, settings.stop_s) == (4, "info", 30.0)


def test_a_field_is_read_from_its_service_and_name() -> None:
    settings = DepotSettings.from_env({"BEDPLATE_RUN_DEPOT_SLOTS": " 7 "})
    assert settings.slots == 7


def test_the_own_name_wins_over_the_extra_ones_and_those_in_their_order() -> None:
    both = {"POSTGRES_URI": "third", "DATABASE_URI": "second"}
    own = {"BEDPLATE_RUN_DEPOT_DATABASE_URL": "first"}
    assert DepotSettings.from_env(both).database_url == "second"
    assert DepotSettings.from_env({**both, **own}).database_url == "first"


def test_common_settings_are_shared_unless_the_service_has_its_own() -> None:
    shared = {"BEDPLATE_LOG_LEVEL": "WARNING", "BEDPLATE_LOG_FORMAT": "json"}
    settings = DepotSettings.from_env({**shared, "BEDPLATE_RUN_DEPOT_LOG_LEVEL": "debug"})
    assert (settings.log_level, settings.log_format) == ("debug", "json")


def test_an_empty_variable_counts_as_not_set() -> None:
    environ = {"BEDPLATE_RUN_DEPOT_SLOTS": "", "BEDPLATE_RUN_DEPOT_DATABASE_URL": "  "}
    assert DepotSettings.from_env({**environ, "DATABASE_URI": "here"}).database_url == "here"


@pytest.mark.parametrize(
    ("text", "pools"),
    [("a,b", ("a", "b")), (" a , b,", ("a", "b")), ('["a,b"]', ("a,b",)), ("a", ("a",))],
)
def test_a_list_is_commas_or_json(text: str, pools: tuple[str, ...]) -> None:
    assert DepotSettings.from_env({"BEDPLATE_RUN_DEPOT_POOLS": text}).pools == pools


def test_an_object_is_json() -> None:
    settings = DepotSettings.from_env({"BEDPLATE_RUN_DEPOT_LABELS": '{"zone":"a"}'})
    assert settings.labels == {"zone": "a"}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        DepotSettings.from_env({}).slots = 5  # type: ignore[misc]


def test_every_wrong_variable_is_told_with_its_name_value_and_limit() -> None:
    problems = _problems(
        BEDPLATE_RUN_DEPOT_SLOTS="65",
        BEDPLATE_RUN_DEPOT_MODE="wild",
        BEDPLATE_STOP_S="soon",
    )
    assert len(problems) == 3
    text = "\n".join(problems)
    assert "BEDPLATE_RUN_DEPOT_SLOTS is '65' and must be less than or equal to 64" in text
    assert "Runs at a time. [at least 1, at most 64]" in text
    assert "BEDPLATE_RUN_DEPOT_MODE is 'wild' and must be 'fast' or 'safe'" in text
    assert "BEDPLATE_STOP_S is 'soon' and must be a valid number" in text


def test_broken_json_is_told() -> None:
    (problem,) = _problems(BEDPLATE_RUN_DEPOT_LABELS="{zone")
    assert problem.startswith("BEDPLATE_RUN_DEPOT_LABELS is '{zone' and must be JSON")


def test_a_variable_that_must_be_set_is_told_with_all_its_names() -> None:
    with pytest.raises(SettingsError, match="BEDPLATE_NEEDY_URL or URL must be set"):
        NeedySettings.from_env({})


def test_secrets_and_passwords_are_never_shown() -> None:
    environ = {
        "BEDPLATE_RUN_DEPOT_KEY": "hunter2",
        "BEDPLATE_RUN_DEPOT_TOKEN": "hunter3",
        "DATABASE_URI": "postgresql://me:hunter4@db/x",
    }
    settings = DepotSettings.from_env(environ)
    assert settings.key is not None
    assert settings.key.get_secret_value() == "hunter2"
    assert "hunter" not in f"{settings!r} {settings} {settings.shown()}"
    assert settings.shown()["database_url"] == "postgresql://***@db/x"


def test_a_refused_secret_is_not_quoted() -> None:
    (problem,) = _problems(BEDPLATE_RUN_DEPOT_TOKEN="bad-hunter2")
    assert "BEDPLATE_RUN_DEPOT_TOKEN *** does not look like a token" in problem
    assert "hunter2" not in problem


def test_all_variables_can_be_listed() -> None:
    listed = {variable.field: variable for variable in variables(DepotSettings)}
    assert listed["slots"].name == "BEDPLATE_RUN_DEPOT_SLOTS"
    assert listed["slots"].limits == "at least 1, at most 64"
    assert listed["mode"].kind == "fast | safe"
    assert listed["database_url"].other_names == ("DATABASE_URI", "POSTGRES_URI")
    assert listed["log_level"].names == (
        "BEDPLATE_RUN_DEPOT_LOG_LEVEL",
        "BEDPLATE_LOG_LEVEL",
        "LOG_LEVEL",
    )
    assert listed["key"].is_secret
    assert not listed["key"].is_required
    assert all(variable.meaning for variable in listed.values())


def test_a_misspelt_variable_is_found() -> None:
    environ = {"BEDPLATE_RUN_DEPOT_SLOT": "1", "BEDPLATE_RUN_DEPOT_SLOTS": "1", "PATH": "x"}
    assert unknown_variables(DepotSettings, environ) == ["BEDPLATE_RUN_DEPOT_SLOT"]


@pytest.mark.parametrize(
    ("environ", "read"),
    [
        ({"LOG_LEVEL": "WARN", "LOG_JSON": "true"}, ("warning", "json")),
        ({"LOG_LEVEL": "CRITICAL", "LOG_JSON": "0"}, ("error", "auto")),
        ({"BEDPLATE_LOG_LEVEL": "debug", "LOG_LEVEL": "ERROR"}, ("debug", "auto")),
    ],
)
def test_the_log_understands_what_others_call_it(
    environ: dict[str, str], read: tuple[str, str]
) -> None:
    settings = DepotSettings.from_env(environ)
    assert (settings.log_level, settings.log_format) == read == early_log(environ)


def test_a_wrong_log_level_is_told_by_the_settings_only() -> None:
    assert early_log({"LOG_LEVEL": "loud"}) == ("info", "auto")
    assert "LOG_LEVEL is 'loud'" in _problems(LOG_LEVEL="loud")[0]


def test_a_default_is_listed_as_it_would_be_written() -> None:
    listed = {variable.field: variable.default for variable in variables(DepotSettings)}
    assert (listed["pools"], listed["stop_s"], listed["token"]) == ("default", "30", "")
