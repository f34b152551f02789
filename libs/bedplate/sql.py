"""SQL kept in files: statements by name, and numbered migrations by component.

A component (`ledger`, `graphs`, `gateway`) owns a folder `migrations/NNNN_<name>.sql` and the
tables in it. Migrations only go forward; one that was applied and then edited is refused, because
two installations would no longer have the same tables under the same number.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from bedplate.kernel.errors import Conflict

# Any constant will do; it keeps two `bedplate migrate` from interleaving.
_MIGRATION_LOCK = 0x62656470  # "bedp"
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


class Statements:
    """`queries/*.sql` of a package, read once: `Statements("bedplate.ledger")["claim_runs"]`."""

    def __init__(self, package: str) -> None:
        folder = files(package).joinpath("queries")
        self._texts = {
            entry.name.removesuffix(".sql"): entry.read_text("utf-8")
            for entry in folder.iterdir()
            if entry.name.endswith(".sql")
        }

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def names(self) -> list[str]:
        return sorted(self._texts)


@dataclass(frozen=True)
class Migration:
    component: str
    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations_of(component: str, package: str) -> list[Migration]:
    """The migrations of `package`, in order of their number."""
    found: list[Migration] = []
    for entry in files(package).joinpath("migrations").iterdir():
        if match := _NAME.fullmatch(entry.name):
            text = entry.read_text("utf-8")
            found.append(Migration(component, int(match[1]), match[2], text))
    return sorted(found, key=lambda migration: migration.number)


async def migrate(connection: Any, migrations: list[Migration]) -> list[Migration]:
    """Apply what is missing, all in one transaction, and return it. Idempotent, safe to run twice
    at once.

    Raises `Conflict` when an applied migration has another text today.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS bedplate_migrations ("
            " component text NOT NULL, number int NOT NULL, name text NOT NULL,"
            " checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (component, number))"
        )
        rows = await connection.fetch("SELECT component, number, checksum FROM bedplate_migrations")
        applied = {(row["component"], row["number"]): row["checksum"] for row in rows}
        fresh: list[Migration] = []
        for migration in migrations:
            before = applied.get((migration.component, migration.number))
            if before is None:
                await connection.execute(migration.text)
                await connection.execute(
                    "INSERT INTO bedplate_migrations (component, number, name, checksum)"
                    " VALUES ($1, $2, $3, $4)",
                    migration.component,
                    migration.number,
                    migration.name,
                    migration.checksum,
                )
                fresh.append(migration)
            elif before != migration.checksum:
                raise Conflict(
                    f"migration {migration.component}/{migration.number:04d}_{migration.name} was"
                    " applied with another text: restore the file, or add a new migration"
                )
        return fresh


async def pending(connection: Any, migrations: list[Migration]) -> list[Migration]:
    """The migrations that this database still lacks."""
    known = await connection.fetchval("SELECT to_regclass('bedplate_migrations') IS NOT NULL")
    if not known:
        return migrations
    rows = await connection.fetch("SELECT component, number FROM bedplate_migrations")
    applied = {(row["component"], row["number"]) for row in rows}
    return [m for m in migrations if (m.component, m.number) not in applied]
