"""Search by meaning: the vectors of store items, and which of them are nearest.

With pgvector 0.8 or newer an HNSW index finds them. Such an index knows nothing of namespaces and
filters: it would hand over its nearest rows and leave what of them passes, which for one of many
tenants may be nothing. So it is scanned on until enough have passed, and should it give up early,
or should the planner see that a place is small, everything at that place is compared. Without
pgvector that is what always happens.

A vector is what the project's embedding function makes of a text, so it is made where the project
is: in executors. Items without a text at any of their fields have none, and no query finds them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg
import structlog
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp, get_text_at_path, tokenize_path

from bedplate.kernel.errors import BedplateError, Refused
from bedplate.sql import Statements

log = structlog.get_logger(__name__)

_sql = Statements("bedplate.graphs")

# A provider that hangs must not hang whoever writes a memory.
EMBED_S_MAX = 60.0
# What an HNSW index of pgvector takes: 32-bit numbers up to the first, 16-bit ones to the second.
_VECTOR_DIMS_MAX, _HALFVEC_DIMS_MAX = 2_000, 4_000
# The first with iterative scans; without them a filter loses rows.
_VERSION = (0, 8)
_EXACT = (
    "(SELECT 1 - sum(a::float8 * b) / nullif(sqrt(sum(a::float8 * a) * sum(b::float8 * b)), 0)"
    " FROM unnest(vectors.embedding, $9::text::real[]) AS pair (a, b))"
)


class EmbeddingFailed(BedplateError):
    """The project's embedding function failed."""


class VectorRow(NamedTuple):
    prefix: str
    key: str
    field_name: str
    embedding: str


Ranked = dict[tuple[str, str], float]
"""(prefix, key) -> score, best first."""


class Vectors:
    """`prepare` it once before it is used."""

    def __init__(self, embeddings: Embeddings, *, dims: int, fields: Sequence[str]) -> None:
        self._embeddings = embeddings
        self._dims = dims
        self._fields = list(fields)
        self._distance = self._near = _EXACT
        self._is_exact = True

    # -- the table

    async def prepare(self, pool: Any) -> None:
        """Give `store_vectors` the type and the index that this server can. Idempotent, and safe
        for many processes. Raises `Refused` when it holds vectors of another size."""
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(_sql["lock_vectors"])
            why = await self._extended(connection)
            column = await connection.fetchrow(_sql["read_vector_column"])
            if column["dims"] not in (None, self._dims):
                raise Refused(
                    f"store.index.dims is {self._dims}, but the stored items have vectors of"
                    f" {column['dims']} numbers: restore it, or empty the table store_vectors and"
                    " put the items again"
                )
            kind = column["type"]
            if why is None or kind != "real[]":
                kind = self._type
                if column["type"] != kind:
                    await self._retype(connection, kind)
        if kind == "real[]" or why is not None or self._dims > _HALFVEC_DIMS_MAX:
            why = why or f"an index holds at most {_HALFVEC_DIMS_MAX} numbers"
            log.warning("store.searched_exactly", why=why, dims=self._dims)
        if kind != "real[]":
            self._near = f"vectors.embedding <=> $9::text::{kind}"
            self._distance = f"({self._near}) + 0"
            self._is_exact = why is not None

    @property
    def _type(self) -> str:
        is_half = _VECTOR_DIMS_MAX < self._dims <= _HALFVEC_DIMS_MAX
        return f"{'halfvec' if is_half else 'vector'}({self._dims})"

    async def _extended(self, connection: Any) -> str | None:
        """Have pgvector in this database; why there is none that is good enough."""
        found = await connection.fetchrow(_sql["read_pgvector"])
        if found is None:
            return "this PostgreSQL has no pgvector"
        version = found["installed_version"]
        if version is None:
            try:
                async with connection.transaction():
                    await connection.execute("CREATE EXTENSION vector")
            except asyncpg.PostgresError as error:
                return f"pgvector is not installed in this database: {error}"
            version = found["default_version"]
        if tuple(int(part) for part in version.split(".")[:2]) < _VERSION:
            return f"pgvector {version} is older than {_VERSION[0]}.{_VERSION[1]}"
        return None

    async def _retype(self, connection: Any, kind: str) -> None:
        await connection.execute("DROP INDEX IF EXISTS store_vectors_embedding_idx")
        await connection.execute(
            f"ALTER TABLE store_vectors ALTER COLUMN embedding TYPE {kind}"
            f" USING embedding::real[]::{kind}"
        )
        if self._dims <= _HALFVEC_DIMS_MAX:
            name = kind.partition("(")[0]
            # The name that langgraph's own store gives it.
            await connection.execute(
                "CREATE INDEX store_vectors_embedding_idx ON store_vectors"
                f" USING hnsw (embedding {name}_cosine_ops)"
            )

    # -- making vectors

    async def rows(self, puts: Sequence[tuple[tuple[str, str], PutOp]]) -> list[VectorRow]:
        """The vectors of items that are about to be put. Raises `EmbeddingFailed`."""
        wanted = [
            (prefix, key, field_name, text)
            for (prefix, key), op in puts
            for field_name, text in self._texts(op)
        ]
        made = await self._embedded([text for *_, text in wanted])
        return [
            VectorRow(prefix, key, field_name, f"{{{vector}}}")
            for (prefix, key, field_name, _), vector in zip(wanted, made, strict=True)
        ]

    async def of_queries(self, queries: Sequence[str]) -> list[str]:
        """What `nearest` takes. Raises `EmbeddingFailed`."""
        made = await self._embedded(list(queries))
        is_array = self._near is _EXACT
        return [f"{{{vector}}}" if is_array else f"[{vector}]" for vector in made]

    def _texts(self, op: PutOp) -> list[tuple[str, str]]:
        """Name and text of each part of the item that is to be found by its meaning."""
        if op.index is False:
            return []
        found: list[tuple[str, str]] = []
        for path in self._fields if op.index is None else op.index:
            texts = get_text_at_path(op.value, path if path == "$" else tokenize_path(path))
            names = [path] if len(texts) == 1 else [f"{path}.{n}" for n in range(len(texts))]
            found.extend(zip(names, texts, strict=True))
        return list(dict(found).items())

    async def _embedded(self, texts: list[str]) -> list[str]:
        """Each vector's numbers, joined by commas."""
        if not texts:
            return []
        # The same text is embedded once: a batch may put one memory in several places.
        unique = list(dict.fromkeys(texts))
        try:
            async with asyncio.timeout(EMBED_S_MAX):
                made = await self._embeddings.aembed_documents(unique)
        except Exception as error:
            what = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise EmbeddingFailed(f"the embedding function failed: {what}") from error
        if len(made) != len(unique):
            raise EmbeddingFailed(
                f"the embedding function made {len(made)} vectors of {len(unique)} texts"
            )
        joined = dict(zip(unique, map(self._joined, made), strict=True))
        return [joined[text] for text in texts]

    def _joined(self, vector: Sequence[float]) -> str:
        numbers = [float(number) for number in vector]
        if len(numbers) != self._dims:
            raise EmbeddingFailed(
                f"store.index.dims is {self._dims}, but the embedding function made a vector of"
                f" {len(numbers)} numbers"
            )
        if not all(map(math.isfinite, numbers)):
            raise EmbeddingFailed("the embedding function made a vector with NaN or infinity")
        return ",".join(map(repr, numbers))

    # -- finding

    async def nearest(
        self, connection: Any, query: str, conditions: Sequence[Any], *, limit: int
    ) -> Ranked:
        """The `limit` items nearest to a query of `of_queries`, with their scores (cosine
        similarity). `conditions`: the first seven parameters of the statement."""
        if not self._is_exact:
            async with connection.transaction():
                await connection.execute(_sql["set_near_search"])
                is_complete, ranked = await self._ranked(
                    connection, query, conditions, limit=limit, order=self._near
                )
            if is_complete:
                return ranked
        _, ranked = await self._ranked(
            connection, query, conditions, limit=limit, order=self._distance
        )
        return ranked

    async def _ranked(
        self, connection: Any, query: str, conditions: Sequence[Any], *, limit: int, order: str
    ) -> tuple[bool, Ranked]:
        """Whether there are `limit` items, and the items. An item may have several vectors: its
        best one counts, and as many more are looked at as that takes."""
        statement = _sql["search_vectors"].format(
            conditions=_sql["item_conditions"], distance=self._near, order=order
        )
        count = limit * max(1, len(self._fields))
        while True:
            rows = await connection.fetch(statement, *conditions, count, query)
            ranked: Ranked = {}
            for row in rows:
                # A vector of zeros is as near to one thing as to any other.
                distance = row["distance"]
                score = 0.0 if distance is None or math.isnan(distance) else 1.0 - distance
                ranked.setdefault((row["prefix"], row["key"]), score)
            if len(ranked) >= limit:
                return True, dict(list(ranked.items())[:limit])
            if len(rows) < count:
                return False, ranked
            count *= 4
