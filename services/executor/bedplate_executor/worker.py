"""A worker: the process that imports users' code and runs their graphs. Started by the keeper, and
gone when it is gone.

It claims nothing and holds no lease: attempts come claimed over the link, and what the keeper is
told is only how each one closed. A second socket, written by the watchdog's thread, says how the
event loop is.

It begins as a *spare*: told to `warm`, it imports the libraries that the project will need; told to
`load`, the project itself. Users' code runs in no process that gets no runs.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import os
import resource
import signal
import socket
import sys
import sysconfig
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import structlog

from bedplate.backbone import Backbone
from bedplate.bus.refusals import order_error
from bedplate.chassis.collector import spare_what_stays
from bedplate.chassis.errors import ConfigurationError
from bedplate.chassis.log import configure
from bedplate.chassis.tasks import Tasks
from bedplate.kernel.errors import Refused
from bedplate.ledger import Claimed
from bedplate.ledger.keys import run_credential_key
from bedplate_proto import subjects
from bedplate_proto.subjects import Kind, Subject
from bedplate_proto.vocabulary import CancelAction

from .leftovers import RunThreads
from .link import Link
from .settings import Settings
from .watchdog import Watchdog, entered_task

log = structlog.get_logger()

EXIT_CONFIGURATION = 78
_HEAVY = (
    "bedplate.graphs.registry",
    "bedplate.graphs.saver",
    "bedplate.graphs.store",
    "bedplate_executor.attempt",
    "bedplate_executor.questions",
)
ASKS: dict[str, Subject] = {
    subject.rest.rsplit(".", 1)[-1]: subject
    for subject in subjects.ALL
    if subject.kind is Kind.ORDER and subject.consumers == (subjects.EXECUTOR,)
}


def main(link_fd: int, pulse_fd: int) -> None:
    """Run until the keeper closes the link."""
    settings = Settings.from_env()
    configure("executor-worker", level=settings.log_level, form=settings.log_format)
    faulthandler.enable()
    # The keeper asks for the stacks of a worker whose watchdog is silent too (a C call that holds
    # the GIL).
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    # Ctrl-C and a service manager reach the whole group; the keeper decides what becomes of us. Not
    # SIG_IGN: programs that users' tools start would inherit it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _left_to_the_keeper)
    # With this the library tells the saver which types a graph's state has, and only those revive
    # from a checkpoint; it is read when the library is imported.
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
    if settings.worker_memory_bytes_max:
        limit = settings.worker_memory_bytes_max
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    link_end, pulse_end = socket.socket(fileno=link_fd), socket.socket(fileno=pulse_fd)
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    loop.set_task_factory(entered_task)  # pyright: ignore[reportArgumentType]
    threads = RunThreads(loop)
    loop.set_default_executor(threads)
    sys.exit(_run_through(loop, _Worker(settings, link_end, pulse_end, threads).live()))


def _left_to_the_keeper(_number: int, _frame: object) -> None:
    """A signal handler."""


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run_through(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, int]) -> int:
    """Run the loop to the end of `work`, also through a node's `sys.exit`.

    A task that raises SystemExit takes the loop down with it; it has kept the exception as its
    result, so the loop is simply run on, and whoever awaits that node gets it as a failure of the
    graph.
    """
    task = loop.create_task(work)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            log.warning("graph.exit_refused", error=repr(error))
    return task.result()


class _Worker:
    def __init__(
        self,
        settings: Settings,
        link_end: socket.socket,
        pulse_end: socket.socket,
        threads: RunThreads,
    ) -> None:
        self._settings = settings
        self._link_end = link_end
        self._pulse_end = pulse_end
        self._attempts: dict[UUID, Any] = {}
        self._running = Tasks("attempts", drain_s=0.0)
        self._threads = threads

    async def live(self) -> int:
        """The worker's exit code."""
        link = await Link.over(self._link_end)
        if not await self._wait_to_load(link):
            return 0
        try:
            # The project is imported before the watchdog starts: an import may take its time.
            async with AsyncExitStack() as stack:
                await self._open(stack, link)
                await self._serve(link)
        except (Refused, ConfigurationError) as error:
            trace: str = getattr(error, "trace", "")
            link.send({"is": "unloadable", "why": f"{error}\n{trace}".rstrip()})
            await link.drain()
            link.close()
            return EXIT_CONFIGURATION
        return 0

    async def _wait_to_load(self, link: Link) -> bool:
        """Be a spare until told to load; False if that never comes."""
        while (frame := await link.receive()) is not None:
            head, _ = frame
            if head["do"] == "load":
                return True
            _warm(head["libraries"])
            link.send({"is": "warm"})
        return False

    async def _open(self, stack: AsyncExitStack, link: Link) -> None:
        """Everything users' code stands on. Heavy imports stand here, so that a bad setting
        fails at once."""
        from bedplate.graphs import loopback
        from bedplate.graphs.config import load_config
        from bedplate.graphs.persistence import given_persistence
        from bedplate.graphs.priority import PriorityHandler
        from bedplate.graphs.registry import Registry

        from .attempt import Attempt, Stop, Tools
        from .item_questions import ItemQuestions
        from .keeping import chores_of, open_kept
        from .questions import Questions

        settings = self._settings
        project = load_config(settings.config)
        known = set(sys.modules)
        way = loopback.install(settings.gateway_url)
        registry = Registry.load(project)
        priority = PriorityHandler.load(project)
        libraries = [name for name in sys.modules if name not in known and _is_library(name)]
        backbone = Backbone(
            settings, name="worker", connections_max=settings.worker_connections_max
        )
        graphs = Tasks("graphs", drain_s=0.0)
        given = given_persistence(settings.config, os.environ)
        for part in backbone.resources:
            await stack.enter_async_context(part)
        # Attempts and graphs end before what they keep things in.
        kept = await open_kept(project, given, backbone, stack)
        for part in (graphs, self._running):
            await stack.enter_async_context(part)
        if (chores := chores_of(kept.saver, backbone.pool)) is not None:
            self._running.start(chores.run(), "chores")
        way.key = await run_credential_key(backbone.pool)
        self._tools = Tools(
            registry=registry,
            kept=kept,
            ledger=backbone.ledger,
            bus=backbone.bus,
            graphs=graphs,
            run_s_max=settings.run_s_max,
            cancel_s=settings.cancel_s,
            lease_s=settings.lease_s,
        )
        self._new_attempt = Attempt
        self._stop_of = Stop
        self._questions = [
            Questions(registry, kept, backbone.ledger, backbone.threads, priority=priority),
            ItemQuestions(kept.store),
        ]
        spare_what_stays()
        Watchdog(
            asyncio.get_running_loop(), self._pulse_end, report_s=settings.stall_report_s
        ).start()
        link.send({"is": "ready", "graphs": registry.describe(), "libraries": libraries})

    async def _serve(self, link: Link) -> None:
        while (frame := await link.receive()) is not None:
            head, body = frame
            match head["do"]:
                case "start":
                    self._start(link, head["claimed"])
                case "stop":
                    if attempt := self._attempts.get(UUID(head["run_id"])):
                        attempt.stop(self._stop_of(head["why"]))
                case "drain":
                    for attempt in self._attempts.values():
                        attempt.drain(head["reason"])
                case "ask":
                    self._running.start(self._answer(link, head, body), "ask")
                case unknown:
                    raise AssertionError(f"the keeper speaks of {unknown!r}")

    def _start(self, link: Link, fields: dict[str, Any]) -> None:
        attempt = self._new_attempt(_claimed(fields), self._tools)
        self._attempts[attempt.claimed.run_id] = attempt
        self._running.start(self._live_attempt(link, attempt), "attempt")

    async def _live_attempt(self, link: Link, attempt: Any) -> None:
        how = "failed"
        try:
            how = await attempt.run()
        finally:
            run_id = attempt.claimed.run_id
            if self._attempts.get(run_id) is attempt:
                del self._attempts[run_id]
            if attempt.has_left_task:
                # Before the keeper hears that there is a slot.
                link.send({"is": "left_behind", "run_id": str(run_id)})
            elif attempt.is_cut_short:
                self._running.start(self._watch_threads(link, str(run_id)), "leftover")
            link.send(
                {
                    "is": "closed",
                    "run_id": str(run_id),
                    "attempt": attempt.claimed.attempt,
                    "how": how,
                }
            )

    async def _watch_threads(self, link: Link, run_id: str) -> None:
        """Synchronous code cannot be cancelled, but mostly ends soon after its run was."""
        if await self._threads.goes_on(run_id, after_s=self._settings.cancel_s):
            log.warning("graph.left_behind", run_id=run_id, waited_s=self._settings.cancel_s)
            link.send({"is": "left_behind", "run_id": run_id})

    async def _answer(self, link: Link, head: dict[str, Any], body: bytes) -> None:
        try:
            verb = head["verb"]
            answering = next(one for one in self._questions if hasattr(one, verb))
            ask = ASKS[verb].message.model_validate_json(body)
            answer = await getattr(answering, verb)(ask)
        except Exception as error:
            told = order_error(error)
            if told.kind == "internal":
                log.exception("question.failed", verb=head["verb"])
            link.send(
                {"is": "answer", "id": head["id"], "error": told.kind},
                told.model_dump_json().encode(),
            )
        else:
            link.send({"is": "answer", "id": head["id"]}, answer)
        await link.drain()


def _claimed(fields: dict[str, Any]) -> Claimed:
    """What `worker_process.give` sent: ids and the action travel as text."""
    ids: dict[str, Any] = {
        name: UUID(fields[name]) for name in ("run_id", "thread_id", "assistant_id")
    }
    action = fields["cancel"]
    ids["cancel"] = None if action is None else CancelAction(action)
    return Claimed(**{**fields, **ids})


def _warm(libraries: list[str]) -> None:
    """Import what every worker imports, and these, in the order in which they were imported
    before."""
    for name in (*_HEAVY, *libraries):
        try:
            importlib.import_module(name)
        except Exception as error:
            # Whoever needs it will say so, with a traceback that names the place.
            log.debug("library.not_warmed", library=name, error=repr(error))


def _is_library(name: str) -> bool:
    """Whether a loaded module was installed, and is not the project's own."""
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return not name.startswith("__") and any(
        file.startswith(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
