"""The service that test_process.py runs as a real process: `program.py <scenario>`.

A scenario only adds to the plain service below what its test is about.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import ClassVar

from pydantic import Field

from bedplate.chassis.errors import ConfigurationError
from bedplate.chassis.log import bound, get_logger
from bedplate.chassis.loop import Loop
from bedplate.chassis.process import Service, run
from bedplate.chassis.reach import Reaching
from bedplate.chassis.settings import Settings

log = get_logger()


class Refused(Exception):
    pass


class ProbeSettings(Settings):
    service: ClassVar[str] = "probe"
    slots: int = Field(4, ge=1, le=64, description="Runs at a time.")
    needed_port: int = Field(0, ge=0, le=65535, description="Port of the server that is needed.")


@asynccontextmanager
async def part(name: str) -> AsyncGenerator[None]:
    log.info("part.opened", part=name)
    try:
        yield
    finally:
        log.info("part.closed", part=name)


@asynccontextmanager
async def hangs_when_closed() -> AsyncGenerator[None]:
    yield
    await asyncio.Event().wait()


@asynccontextmanager
async def wrong() -> AsyncGenerator[None]:
    raise ConfigurationError("NATS 2.9.10 is too old: 2.12 or later is needed")
    yield


@asynccontextmanager
async def refused() -> AsyncGenerator[None]:
    raise Refused("the schema is from a later release")
    yield


@asynccontextmanager
async def broken() -> AsyncGenerator[None]:
    raise KeyError("surprise")
    yield


@asynccontextmanager
async def connection(port: int) -> AsyncGenerator[None]:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    log.info("connection.opened")
    yield
    writer.close()


async def tick() -> dict[str, int]:
    log.info("tick.ended")
    return {"swept": 3}


async def fails() -> None:
    raise OSError("the server is away")


async def blocks() -> None:
    log.info("loop.blocked")
    threading.Event().wait()


async def ends() -> None:
    log.info("work.ended")


async def exits() -> None:
    sys.exit(0)


async def unwell() -> str | None:
    return "no connection"


async def silent() -> str | None:
    await asyncio.Event().wait()
    return None


async def drain() -> None:
    with bound(run_id="r1"):
        log.info("drain.begun")


async def drain_for_ever() -> None:
    log.info("drain.begun")
    await asyncio.Event().wait()


def build() -> Service:
    scenario = sys.argv[1]
    settings = ProbeSettings.from_env()
    service = Service(
        name="probe",
        settings=settings,
        resources=[part("first"), part("second")],
        loops=[Loop("sweeper", tick, period_s=0.05)],
        on_drain=drain,
    )
    match scenario:
        case "plain":
            pass
        case "drains_for_ever":
            service.on_drain = drain_for_ever
        case "hangs_when_closed":
            service.resources = [part("first"), hangs_when_closed(), part("second")]
        case "blocks":
            service.loops = [Loop("blocker", blocks, period_s=1)]
        case "thread_hangs":
            service.works = [lambda: asyncio.to_thread(threading.Event().wait)]  # type: ignore[list-item]
        case "wrong":
            service.resources = [part("first"), wrong()]
        case "refused":
            service.resources = [part("first"), refused()]
        case "broken":
            service.resources = [part("first"), broken()]
        case "needs_server":
            service.resources = [
                part("first"),
                Reaching("the depot", lambda: connection(settings.needed_port), limit_s=1.0),
            ]
        case "waits_for_server":
            service.resources = [
                part("first"),
                Reaching("the depot", lambda: connection(settings.needed_port), limit_s=60.0),
            ]
        case "work_ends":
            service.works = [ends]
        case "loop_exits":
            service.loops = [Loop("sweeper", exits, period_s=1)]
        case "loop_fails":
            service.loops = [Loop("sweeper", fails, period_s=0.05, retry_s=0.01, retry_s_max=0.02)]
            service.ready = {"sweeper": service.loops[0].ready}
        case "unwell":
            service.ready = {"depot": unwell, "other": silent}
        case "exits":
            sys.exit(0)
        case "libraries_log":
            logging.getLogger("my_agent").info("users %s", "see this")
            logging.getLogger("my_agent").debug("and not this")
            os.environ["PYTHONASYNCIODEBUG"] = "1"
        case _:
            raise ValueError(scenario)
    return service


if __name__ == "__main__":
    run(build, refused=Refused)
