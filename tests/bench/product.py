"""The product: the loads through HTTP on a whole stack, what it costs at rest, how it starts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import conversation
import sizes
from http_client import Connection
from measures import INPUTS, Figures, Load, Sample, figures_of, run_jobs, span
from processes import Group, nobody, spent
from streams import idle, token_ms
from transactions import Transactions

from bedplate.devstack.stack import Stack

PROJECT = Path(__file__).resolve().parents[1] / "graphs" / "langgraph.json"
OURS = ("gateway", "run-scheduler", "webhook-dispatcher", "keeper", "workers")
# At rest: less than this share of a core for a second.
_REST_S, _REST_CORES, _REST_TRIES_MAX = 1.0, 0.05, 20
_TOKEN = b"event: messages\r\n"


def group_of(stack: Stack) -> Group:
    def server(name: str) -> Any:
        return lambda: stack.servers.pids.get(name, ())

    return Group(
        {
            "gateway": lambda: stack.pids("gateway"),
            "run-scheduler": lambda: stack.pids("run-scheduler"),
            "webhook-dispatcher": lambda: stack.pids("webhook-dispatcher"),
            "keeper": lambda: stack.pids("executor")[:1],
            "workers": lambda: stack.pids("executor")[1:],
            "postgres": server("postgres"),
            "nats": server("nats"),
            "valkey": server("valkey"),
            "client": nobody,
        }
    )


class Product:
    def __init__(self, stack: Stack, transactions: Transactions) -> None:
        self._stack = stack
        self._group = group_of(stack)
        self._transactions = transactions

    async def figures(self, load: Load, *, repeats: int) -> Figures:
        # Connections, plans and code are warm for whoever has been up for a minute.
        await self._sample(Load(load.name, load.graph, load.concurrency, 2 * load.concurrency))
        return figures_of(load, [await self._sample(load) for _ in range(repeats)])

    async def _sample(self, load: Load) -> Sample:
        first_tokens: list[float] = []
        async with AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(await Connection.to(self._stack.url))
                for _ in range(load.concurrency)
            ]

            async def wait(slot: int) -> None:
                await waited(connections[slot], load.graph)

            async def stream(slot: int) -> None:
                first_tokens.append(await streamed(connections[slot]))

            job = stream if load.graph == "tokens" else wait
            counted = await self._transactions.counts()
            before = self._group.cpu_s()
            wall_s, latencies = await run_jobs(load, job)
            cpu_s = spent(before, self._group.cpu_s())
            commits, writing = await self._transactions.counts()
        return Sample(
            wall_s, cpu_s, latencies, first_tokens, commits - counted[0], writing - counted[1]
        )

    async def rest(self) -> None:
        """Wait until nothing works off what came before (a spare worker's imports, a vacuum)."""
        for _ in range(_REST_TRIES_MAX):
            before = self._group.cpu_s()
            await span(_REST_S)
            cpu_s = spent(before, self._group.cpu_s())
            if sum(cpu_s.values()) < _REST_S * _REST_CORES:
                return

    async def idle(self, seconds: float) -> dict[str, Any]:
        """CPU in percent of a core over a span without requests, and memory."""
        await self._transactions.clean_up()
        await self.rest()
        before, began = self._group.cpu_s(), perf_counter()
        await span(seconds)
        cpu_s = spent(before, self._group.cpu_s())
        percent = {name: 100 * s / (perf_counter() - began) for name, s in cpu_s.items()}
        del percent["client"]
        rss, pss = self._group.rss_mib(), self._group.pss_mib()
        return {
            "cpu_percent": percent,
            "rss_mib": {name: round(mib, 1) for name, mib in rss.items()},
            "cpu_percent_in_all": sum(percent.values()),
            "our_rss_mib": sum(rss[name] for name in OURS),
            "our_pss_mib": sum(pss[name] for name in OURS),
        }

    async def sizes(self, names: set[str], *, is_quick: bool) -> dict[str, float]:
        """What grows with use, in the order in which one does not burden the next."""
        measured: dict[str, float] = {}
        await self.rest()
        if "store" in names:
            operations = 2_000 if is_quick else 10_000
            measured |= await sizes.store_rates(self._stack.url, operations=operations)
        if "state" in names:
            measured |= await sizes.state_reads(self._stack)
        if "growth" in names:
            await self.rest()
            runs = conversation.QUICK_RUNS if is_quick else conversation.RUNS
            measured |= await conversation.of_product(self._stack, self._group, runs=runs)
        if "threads" in names:
            measured |= await sizes.thread_search(self._stack)
        return measured

    async def streams(self, *, tokens: int, seconds: float) -> dict[str, float]:
        """One token's way to its client, and what idle streams cost the gateway."""
        one = await token_ms(self._stack.url, tokens=tokens)
        await self.rest()
        return one | await idle(self._stack, self._group, seconds=seconds)


async def waited(connection: Connection, graph: str) -> None:
    """Make a thread, run the graph on it, get its values."""
    thread = (await connection.post("/threads", {})).json()["thread_id"]
    answer = await connection.post(f"/threads/{thread}/runs/wait", _order(graph))
    values = answer.json()
    if "__error__" in values:
        raise RuntimeError(values)


async def streamed(connection: Connection) -> float:
    """Stream a run's tokens; the seconds from the request to the first one."""
    thread = (await connection.post("/threads", {})).json()["thread_id"]
    order = _order("tokens") | {"stream_mode": ["messages-tuple"]}
    answer = await connection.post(f"/threads/{thread}/runs/stream", order, token=_TOKEN)
    if answer.tokens < INPUTS["tokens"]["n"]:
        raise RuntimeError(f"{answer.status}: {answer.tokens} tokens")
    return answer.first_token_s


def _order(graph: str) -> dict[str, Any]:
    return {"assistant_id": graph, "input": INPUTS[graph], "durability": "async"}


async def first_answer_s(data_dir: Path, *, workers: int) -> float:
    """Seconds from nothing running to the first answered run."""
    began = perf_counter()
    async with Stack(data_dir, project=PROJECT, workers=workers) as stack:
        async with await Connection.to(stack.url) as connection:
            await waited(connection, "noop")
        return perf_counter() - began
