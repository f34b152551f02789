"""What an operator set in vain is named, once and without its value."""

from __future__ import annotations

from bedplate.foreign import without_effect


def test_a_variable_without_effect_is_named_with_what_counts_instead() -> None:
    (notice,) = without_effect({"BG_JOB_ISOLATED_LOOPS": "true", "PATH": "/bin"})
    assert notice.startswith("BG_JOB_ISOLATED_LOOPS has no effect: ")
    assert "BEDPLATE_EXECUTOR_STALL_KILL_S" in notice


def test_a_family_of_variables_is_named_one_by_one_and_never_with_a_value() -> None:
    notices = without_effect({"LSD_GRPC_X": "hunter2", "LANGGRAPH_CLOUD_LICENSE_KEY": "hunter3"})
    assert [notice.split()[0] for notice in notices] == [
        "LANGGRAPH_CLOUD_LICENSE_KEY",
        "LSD_GRPC_X",
    ]
    assert "hunter" not in "".join(notices)


def test_an_empty_variable_is_not_set() -> None:
    assert without_effect({"LOG_COLOR": " "}) == []
