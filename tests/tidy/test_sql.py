"""SQL files say what they are for, and each table has one writer."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

LEDGER = "libs/bedplate/ledger"
GRAPHS = "libs/bedplate/graphs"
GATEWAY = "services/gateway/bedplate_gateway"
OWNERS = {
    "threads": LEDGER,
    "runs": LEDGER,
    "crons": LEDGER,
    "outbox": LEDGER,
    "parcels": LEDGER,
    "deliveries": LEDGER,
    "keys": LEDGER,
    "assistants": GATEWAY,
    "assistant_versions": GATEWAY,
    "graphs": GATEWAY,
    "store": GRAPHS,
    "store_vectors": GRAPHS,
    "store_migrations": GRAPHS,
    "vector_migrations": GRAPHS,
    "checkpoints": GRAPHS,
    "checkpoint_blobs": GRAPHS,
    "checkpoint_writes": GRAPHS,
    "checkpoint_undo": GRAPHS,
    "checkpoint_migrations": GRAPHS,
    "checkpoint_chores": GRAPHS,
    "bedplate_migrations": "libs/bedplate/sql.py",
}

_WRITE = re.compile(
    r"""\b(?: INSERT\s+INTO
          | DELETE\s+FROM (?:\s+ONLY)?
          | MERGE\s+INTO
          | TRUNCATE (?:\s+TABLE)?
          | (?:CREATE|ALTER|DROP)\s+TABLE (?:\s+IF\s+(?:NOT\s+)?EXISTS)?
          # Not FOR UPDATE, DO UPDATE, ON UPDATE, nor a trigger's AFTER UPDATE.
          | (?<!for\ )(?<!do\ )(?<!on\ )(?<!key\ )(?<!after\ )(?<!before\ )(?<!or\ )
            UPDATE (?:\s+ONLY)?
        )\s+ "?(?P<table>[a-z_][a-z0-9_.]*)""",
    re.IGNORECASE | re.VERBOSE,
)
_STATEMENT = re.compile(r"\s*(WITH|INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP)\s")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def _writes(text: str) -> list[tuple[int, str]]:
    """Line and table of each write."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    plain = _LITERAL.sub(blank, _COMMENT.sub(blank, text))
    return [
        (plain.count("\n", 0, match.start()) + 1, match["table"].removeprefix("public.").lower())
        for match in _WRITE.finditer(plain)
        if match["table"].lower() not in ("set", "of", "on")
    ]


def _texts(source: Any) -> list[tuple[int, str]]:
    """The SQL in a file: all of a `.sql`, and strings of a module that read like a statement."""
    if source.name.endswith(".sql"):
        return [(1, source.text)]
    if not source.name.endswith(".py"):
        return []
    return [
        (node.lineno, node.value)
        for node in source.nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _STATEMENT.match(node.value)
    ]


def _foreign_writes(source: Any) -> list[str]:
    if not source.is_in("libs", "services") or source.is_in(
        "libs/bedplate/testing", "libs/bedplate/devstack"
    ):
        return []
    problems: list[str] = []
    for first, text in _texts(source):
        for line, table in _writes(text):
            at = f"{source.path}:{first + line - 1}"
            owner = OWNERS.get(table)
            if owner is None:
                problems.append(f"{at}: table {table} has no owner: give it one in OWNERS")
            elif source.path != owner and not source.is_in(owner):
                problems.append(f"{at}: {table} is written by {owner} only: ask it for a verb")
    return problems


def _unexplained(source: Any) -> list[str]:
    if "/queries/" not in source.path or not source.name.endswith(".sql"):
        return []
    if source.text.startswith("-- ") and len(source.text.split("\n", 1)[0]) > 10:
        return []
    return [f"{source.path}:1: the first line says what, for whom, by which index: `-- verb: …`"]


@pytest.mark.parametrize("check", [_foreign_writes, _unexplained])
def test_sql_keeps_its_place(sources: list[Any], hold: Any, check: Any) -> None:
    hold([problem for source in sources for problem in check(source)])


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE runs SET status = 'x'",
        "-- why\nWITH a AS (SELECT 1)\ndelete from only threads",
        "INSERT INTO public.outbox (a) SELECT 1",
        'UPDATE "runs" SET a = 1',
        "TRUNCATE crons",
        "CREATE TABLE IF NOT EXISTS novelty (a int)",
    ],
)
def test_a_second_writer_is_found(source_of: Any, text: str) -> None:
    path = f"{GATEWAY}/queries/change_run.sql"
    assert len(_foreign_writes(source_of(path, text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM runs FOR UPDATE",
        "SELECT * FROM runs FOR NO KEY UPDATE SKIP LOCKED",
        "INSERT INTO assistants (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1",
        "-- UPDATE runs later\nSELECT 'DELETE FROM runs'",
        "CREATE TABLE assistants (a int REFERENCES x ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TRIGGER t AFTER INSERT OR UPDATE ON assistants EXECUTE FUNCTION f()",
    ],
)
def test_what_only_reads_or_owns_is_not(source_of: Any, text: str) -> None:
    assert _foreign_writes(source_of(f"{GATEWAY}/queries/read_run.sql", text)) == []


def test_a_writer_in_a_module_is_found_too(source_of: Any) -> None:
    source = source_of(f"{GATEWAY}/runs.py", 'x = 1\nQUERY = "UPDATE runs SET a = 1"')
    (problem,) = _foreign_writes(source)
    assert problem.startswith(f"{GATEWAY}/runs.py:2:")


def test_a_query_that_does_not_say_what_it_is_for_is_found(source_of: Any) -> None:
    assert _unexplained(source_of(f"{LEDGER}/queries/claim_runs.sql", "SELECT 1"))
    told = "-- claim_runs: take due runs, for executors; by runs_due.\nSELECT 1"
    assert not _unexplained(source_of(f"{LEDGER}/queries/claim_runs.sql", told))
