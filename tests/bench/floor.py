"""The floor: the bare library with its stock checkpointer, in one process, without a server.

Run by `bench.py` as a process of its own, so that its CPU is its own:

    python tests/bench/floor.py DATABASE_URI POSTGRES REPEATS [NAME …]    one JSON line per name

A name is that of a load, or `growth`: a long conversation, so many runs as there are REPEATS.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import conversation
import orjson
import uvloop
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from measures import INPUTS, LOADS, STEPS, Load, Sample, figures_of, run_jobs
from processes import Group, family, nobody, spent
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from transactions import Transactions

GRAPHS = Path(__file__).resolve().parents[1] / "graphs"
CONNECTIONS = 10


class Floor:
    def __init__(self, graphs: dict[str, Any], group: Group, transactions: Transactions) -> None:
        self._graphs = graphs
        self._group = group
        self._transactions = transactions

    async def sample(self, load: Load) -> Sample:
        graph = self._graphs[load.graph]
        first_tokens: list[float] = []

        async def invoke(_slot: int) -> None:
            await graph.ainvoke(INPUTS[load.graph], _config(), durability="async")

        async def stream(_slot: int) -> None:
            began, tokens = perf_counter(), 0
            events = graph.astream(
                INPUTS[load.graph], _config(), stream_mode="messages", durability="async"
            )
            async for _ in events:
                if not tokens:
                    first_tokens.append(perf_counter() - began)
                tokens += 1

        job = stream if load.graph == "tokens" else invoke
        before, counted = self._group.cpu_s(), await self._transactions.counts()
        wall_s, latencies = await run_jobs(load, job)
        cpu_s = spent(before, self._group.cpu_s())
        commits, writing = await self._transactions.counts()
        return Sample(
            wall_s, cpu_s, latencies, first_tokens, commits - counted[0], writing - counted[1]
        )


def _config() -> Any:
    return {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": STEPS + 10}


async def main(uri: str, postgres: int, repeats: int, names: list[str]) -> None:
    sys.path.insert(0, str(GRAPHS))
    import plain
    import steps
    import talk
    import tokens

    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        uri,
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        open=False,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        graphs: dict[str, Any] = {"noop": plain.noop, "steps": steps.graph, "tokens": tokens.graph}
        graphs["talk"] = talk.agent
        for name, graph in graphs.items():
            graphs[name] = graph.copy(update={"checkpointer": saver})
        group = Group({"client": nobody, "postgres": lambda: family(postgres)})
        transactions = await Transactions.of(uri)
        floor = Floor(graphs, group, transactions)
        for load in LOADS:
            if load.name not in names:
                continue
            await floor.sample(Load(load.name, load.graph, load.concurrency, load.concurrency))
            samples = [await floor.sample(load) for _ in range(repeats)]
            print(orjson.dumps(figures_of(load, samples)).decode(), flush=True)
        if "growth" in names:
            found = await conversation.of_library(graphs["talk"], group, uri, runs=repeats)
            print(orjson.dumps(found).decode(), flush=True)
        await transactions.close()


if __name__ == "__main__":
    _, uri, postgres, repeats, *names = sys.argv
    uvloop.run(main(uri, int(postgres), int(repeats), names))
