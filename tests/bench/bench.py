"""The numbers the documentation quotes: the bare library and the product, side by side.

    python tests/bench/bench.py [--quick] [--workers N]… [--json FILE] [name …]

Names: noop-1 noop-16 noop-64 steps-16 tokens-1 tokens-16 tokens-64 queue idle streams start, and
store threads state growth; none: all. Wall figures are the best of the repetitions (other work on
the machine only slows them down), CPU is the median one's: all processes, client included, from
/proc. `floor` is the library with
`AsyncPostgresSaver` on the same PostgreSQL in one process, without a server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from conversation import QUICK_RUNS, RUNS
from measures import LOADS, Figures, Load
from product import PROJECT, Product, first_answer_s
from queueing import Queueing
from table import Column, shown
from transactions import Transactions

from bedplate.devstack.stack import Stack

HERE = Path(__file__).resolve().parent
SIZES = ("store", "threads", "state", "growth")
NAMES = [*(load.name for load in LOADS), "queue", "idle", "streams", "start", *SIZES]
IDLE_S = 15.0
PACED_TOKENS = 500


def main() -> None:
    given = _arguments()
    # A database directory must be enterable for the account PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="bedplate-bench-") as folder:
        Path(folder).chmod(0o755)
        columns = uvloop.run(_measured(Path(folder), given))
    print(shown(columns))
    machine = _machine()
    print(f"{machine['cores']} cores, load {machine['load_1_min']:.1f} at the end (ours included)")
    if given.json:
        text = json.dumps(
            {"machine": _machine(), "columns": [asdict(c) for c in columns]}, indent=1
        )
        Path(given.json).write_text(text + "\n")


async def _measured(folder: Path, given: argparse.Namespace) -> list[Column]:
    columns: list[Column] = []
    loads = [
        replace(load, count=max(load.concurrency, load.count // 4)) if given.quick else load
        for load in LOADS
        if load.name in given.names
    ]
    usual = [load for load in loads if not load.is_at_once]
    at_once = [load for load in loads if load.is_at_once]
    repeats = 1 if given.quick else 3
    for workers in given.workers:
        data_dir = folder / f"{workers}-workers"
        column = Column(f"product, {workers} worker{'s' * (workers > 1)}")
        if "start" in given.names:
            _telling(f"start, {column.name}")
            column.start["cold_s"] = await first_answer_s(data_dir, workers=workers)
            column.start["warm_s"] = min(
                [await first_answer_s(data_dir, workers=workers) for _ in range(repeats)]
            )
        if not columns and (loads or {"queue", "growth"} & set(given.names)):
            columns.append(Column("floor"))
        for part in (usual, at_once):
            others = set(given.names) - {load.name for load in LOADS} - {"start"}
            others = others if part is usual else set[str]()
            if not part and not others:
                continue
            env = _env(part, workers) if part is at_once else {}
            async with Stack(data_dir, project=PROJECT, workers=workers, env=env) as stack:
                transactions = await Transactions.of(stack.endpoints.database_uri)
                product = Product(stack, transactions)
                await product.rest()
                for load in part:
                    _telling(f"{load.name}, {column.name}")
                    floor = columns[0].loads
                    # Right before the product's: the machine has other things to do, now and then.
                    if load.name not in floor:
                        floor[load.name] = await _floor(stack, load.name, repeats)
                    column.loads[load.name] = await product.figures(load, repeats=repeats)
                if "queue" in others and workers == min(given.workers):
                    _telling("queue")
                    bare = columns[0].loads.get("noop-1") or await _floor(stack, "noop-1", repeats)
                    column.queue = await _queue(product, stack, bare, given)
                if "idle" in others:
                    _telling(f"idle, {column.name}")
                    await product.rest()
                    column.idle = await product.idle(IDLE_S / 3 if given.quick else IDLE_S)
                if "streams" in others and workers == min(given.workers):
                    # What they measure is the gateway's: once is enough.
                    _telling("streams")
                    column.streams = await _streams(product, given)
                if set(SIZES) & others and workers == min(given.workers):
                    _telling(" ".join(name for name in SIZES if name in others))
                    if "growth" in others:
                        runs = QUICK_RUNS if given.quick else RUNS
                        columns[0].sizes = await _of_floor(stack, "growth", runs)
                    column.sizes = await product.sizes(others, is_quick=given.quick)
                await transactions.close()
        columns.append(column)
    return columns


def _telling(what: str) -> None:
    """Beside the table: all of it takes a quarter of an hour."""
    print(f"measuring {what} …", file=sys.stderr, flush=True)


def _env(loads: Sequence[Load], workers: int) -> dict[str, str]:
    """As many slots as the largest of them has runs."""
    slots = -(-max(load.concurrency for load in loads) // workers)
    return {"BEDPLATE_EXECUTOR_SLOTS": str(slots)}


async def _streams(product: Product, given: argparse.Namespace) -> dict[str, float]:
    await product.rest()
    quick = 3 if given.quick else 1
    return await product.streams(tokens=PACED_TOKENS // quick, seconds=IDLE_S / quick)


async def _queue(
    product: Product, stack: Stack, bare: Figures, given: argparse.Namespace
) -> dict[str, float]:
    await product.rest()
    found = await Queueing(stack, quick=given.quick).figures()
    return found | {"line_over_ms": found["line_ms"] - bare.p50_ms}


async def _floor(stack: Stack, name: str, repeats: int) -> Figures:
    return Figures(**await _of_floor(stack, name, repeats))


async def _of_floor(stack: Stack, name: str, repeats: int) -> dict[str, Any]:
    """The bare library, in a process of its own and in a database of its own on the same server."""
    uri = stack.endpoints.database_uri
    connection = await asyncpg.connect(uri, timeout=10)
    try:
        await connection.execute("CREATE DATABASE floor")
    except asyncpg.DuplicateDatabaseError:
        pass
    finally:
        await connection.close()
    postgres = stack.servers.pids["postgres"][0]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, HERE / "floor.py", uri.rsplit("/", 1)[0] + "/floor"),
        *(str(postgres), str(repeats), name),
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the floor could not be measured ({process.returncode})")
    return json.loads(output)


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load_1_min": os.getloadavg()[0],
        "python": platform.python_version(),
        "langgraph": version("langgraph"),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the floor and the product side by side.")
    parser.add_argument("names", nargs="*", metavar="name", help=" ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="a quarter of the load, once")
    parser.add_argument("--workers", action="append", type=int, help="default: 1, and one per core")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {' '.join(NAMES)}")
    given.names = given.names or NAMES
    given.workers = given.workers or sorted({1, os.cpu_count() or 1})
    return given


if __name__ == "__main__":
    main()
