"""Each record is one line that a machine or a person can read; the rest costs nothing.

The log is set up once per process, so each test asks a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

OPENING = """
import json, logging, warnings
from bedplate.chassis.log import bound, configure, get_logger
log = get_logger()
"""


def _written(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPENING + program], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def _records(program: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _written(program).splitlines()]


def test_a_record_says_when_how_severe_what_who_and_the_fields() -> None:
    (record,) = _records(
        "configure('gateway', form='json')\nlog.info('run.created', run_id='r', took_ms=3)"
    )
    assert list(record) == ["at", "level", "event", "service", "pid", "run_id", "took_ms"]
    assert record["at"].endswith("Z")
    assert (record["level"], record["service"], record["took_ms"]) == ("info", "gateway", 3)


def test_what_is_bound_is_on_every_record_inside() -> None:
    inside, outside = _records(
        "configure('gateway', form='json')\n"
        "with bound(request_id='q', run_id='r'):\n    log.info('run.created')\n"
        "log.info('run.created')"
    )
    assert (inside["request_id"], inside["run_id"]) == ("q", "r")
    assert "request_id" not in outside


def test_an_exception_is_fields_and_shows_no_values_of_variables() -> None:
    program = """
configure('gateway', form='json')
secret = "hunter" + "2"
try:
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("wrong") from error
except ValueError:
    log.exception("run.failed")
"""
    (record,) = _records(program)
    assert (record["level"], record["error"]) == ("error", "ValueError: wrong")
    assert "KeyError" in record["traceback"]
    assert "hunter2" not in json.dumps(record)


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_an_exception_of_a_megabyte_is_no_line_of_a_megabyte(form: str) -> None:
    program = f"""
configure('gateway', form={form!r})
def node(): raise ValueError("begins " + "x" * 1_000_000)
try: node()
except ValueError: log.exception("run.failed", run_id="r")
"""
    text = _written(program)
    assert len(text) < 20_000
    assert "ValueError: begins xxx" in text and "(1000019 characters)" in text
    assert "in node" in text, "where it was raised is still told"


@pytest.mark.parametrize("value", ["'x' * 1_000_000", "['x' * 1_000_000]", "list(range(100_000))"])
def test_whatever_is_logged_the_line_has_a_limit(value: str) -> None:
    (record,) = _records(
        f"configure('x', form='json')\nlog.info('run.created', run_id='r', v={value})"
    )
    assert (record["event"], record["run_id"]) == ("run.created", "r")
    assert len(json.dumps(record)) < 10_000


def test_a_librarys_endless_message_is_cut_too() -> None:
    (record,) = _records(
        "configure('x', form='json')\nlogging.getLogger('l').error('y' * 1_000_000)"
    )
    assert record["message"].startswith("yyy") and len(record["message"]) < 5_000


def test_below_the_level_nothing_is_written_nor_computed() -> None:
    program = """
class Costly:
    def __str__(self): raise AssertionError("computed")
configure('gateway', level='warning', form='json')
log.info("run.created", costly=Costly())
log.warning("run.lost")
"""
    assert [record["event"] for record in _records(program)] == ["run.lost"]


def test_the_standard_library_is_adopted_users_at_info_libraries_at_warning() -> None:
    program = """
configure('executor', form='json')
logging.getLogger("my_agent").info("mine %s", 1)
logging.getLogger("my_agent").debug("not this")
def library(text): return compile(text, json.__file__, "exec")
exec(library("logging.getLogger('lib').info('chatter')"))
exec(library("logging.getLogger('lib').warning('trouble')"))
warnings.warn("old")
"""
    records = _records(program)
    assert [record["event"] for record in records] == ["library.logged"] * 3
    assert [record["message"] for record in records][:2] == ["mine 1", "trouble"]
    assert [record["level"] for record in records] == ["info", "warning", "warning"]


def test_a_broken_library_record_does_not_break_its_writer() -> None:
    text = _written(
        "configure('x', form='json')\nlogging.getLogger('lib').error('%d', 'no number')"
    )
    assert "not all arguments converted" in text or "TypeError" in text


def test_for_people_it_is_one_line_with_the_fields() -> None:
    (line,) = _written(
        "configure('gateway', form='pretty')\nlog.warning('run.lost', run_id='r', attempt=2)"
    ).splitlines()
    assert line.split()[1:] == ["warning", "gateway", "run.lost", "run_id=r", "attempt=2"]
    assert "\x1b" not in line


def test_not_on_a_terminal_it_is_json() -> None:
    (record,) = _records("configure('gateway')\nlog.info('run.created')")
    assert record["event"] == "run.created"


def test_a_logger_used_before_the_setup_follows_it_afterwards() -> None:
    program = """
configure("early", form="json", is_final=False)
log.info("run.created")
configure("late", form="json")
log.info("run.created")
"""
    assert [record["service"] for record in _records(program)] == ["early", "late"]


@pytest.mark.parametrize("value", ["object()", "b'x'", "float('nan')", "{1, 2}", "{(1, 2): 3}"])
def test_whatever_is_logged_the_line_stays_json(value: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = _written(f"configure('x', form='json')\nlog.info('run.created', odd={value})")
    assert json.loads(text, parse_constant=refuse)["event"] == "run.created"
