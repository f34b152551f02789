"""One service as a process: start in order, work, stop in reverse order, answer with an exit code.

`__main__.py` is `run(build)`. `build` reads the settings and returns a `Service`; nothing else in a
service starts, stops or catches signals.

**Start.** The ops endpoint first (alive, not ready), then the resources in their order, then all
loops and works. **Stop**, asked for by SIGTERM or SIGINT, within `settings.stop_s`: not ready any
more; `on_drain` while everything still runs; loops end after the tick under way; works are
cancelled; resources are left in reverse order; the ops endpoint last. What exceeds its share is
cancelled and costs the exit code, and a thread of its own ends the process shortly after `stop_s`
even if the event loop stands still. A second signal ends it at once.

| exit code | meaning |
| --- | --- |
| 0 | asked to stop, everything stopped by itself |
| 69 | a needed server could not be reached at start |
| 78 | configuration: a clear text on stderr, no traceback |
| 1 | anything else, logged with its traceback |

*Not promised*: anything about SIGKILL. A service whose parent may die is started by it with a death
signal.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .collector import spare_what_stays
from .errors import ConfigurationError, Unreachable
from .log import configure, get_logger
from .loop import Loop
from .metrics import LagSampler, Metrics
from .ops import Check, Ops
from .settings import Settings, early_log, unknown_variables

__all__ = ["ConfigurationError", "Service", "Unreachable", "run"]

log = get_logger()

Resource = AbstractAsyncContextManager[Any]
Errors = type[BaseException] | tuple[type[BaseException], ...]

EXIT_FAILED = 1
EXIT_UNREACHABLE = 69  # EX_UNAVAILABLE of sysexits.h
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h

# One Ctrl-C can arrive twice: from the terminal and passed on by the parent. That is not
# impatience.
_SAME_REQUEST_S = 0.5
# Kept from the drain for closing what is open, as a share of `stop_s`.
_CLOSING_SHARE = 0.2
_CLOSE_S_MIN = 0.25
# After `stop_s`, until the process is ended although its event loop or a thread of it hangs.
_HANG_S = 2.0


@dataclass(kw_only=True)
class Service:
    """All parts of one service, not started yet."""

    name: str
    settings: Settings
    resources: Sequence[Resource] = ()
    """Entered in this order, left in reverse."""
    loops: Sequence[Loop] = ()
    works: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    """What runs as long as the service (an HTTP server, a puller); if one ends, the service
    fails."""
    ready: Mapping[str, Check] = field(default_factory=dict[str, Check])
    on_drain: Callable[[], Awaitable[None]] | None = None
    """Called when asked to stop, before anything is stopped or closed."""
    metrics: Metrics = field(default_factory=Metrics)
    notices: Sequence[str] = ()
    """Sentences about what an operator set and what has no effect, for the log at start."""


Build = Callable[[], Service | Awaitable[Service]]


def run(build: Build, *, refused: Errors = (), unavailable: Errors = ()) -> NoReturn:
    """Live one service and exit the process with its code.

    `refused` and `unavailable` are errors of other packages that, raised at start, mean what
    `ConfigurationError` and `Unreachable` mean here.
    """
    package = build.__module__.partition(".")[0]
    name = package.removeprefix("bedplate_").strip("_").replace("_", "-")
    # Until the settings are read, so that what is logged while building has the right form already.
    level, form = early_log(os.environ)
    configure(name, level=level, form=form, is_final=False)
    stop = _Stop()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        stop.listen(runner.get_loop())
        try:
            stop.code = runner.run(_live(build, name, stop, refused, unavailable))
        except SystemExit:
            # From a task: asyncio lets it through at once, and users' code may have said exit(0).
            log.exception("service.failed")
        # Leaving the runner waits for its threads, and one may sit in users' code for ever.
        stop.end_within(_HANG_S)
    sys.exit(stop.code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class _Stop:
    """What signals mean: the first asks, the second does not."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.code = EXIT_FAILED
        self.limit_s = 30.0
        self._asked_at: float | None = None
        self._starting: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Not loop.add_signal_handler: these must also work while users' code blocks the event loop.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def _received(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self.end_within(self.limit_s + _HANG_S)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._ask)
        elif now - self._asked_at > _SAME_REQUEST_S:
            sys.stderr.flush()
            os._exit(EXIT_FAILED)

    def _ask(self) -> None:
        self.asked.set()
        if self._starting is not None:
            self._starting.cancel()

    @contextmanager
    def ends_start(self) -> Generator[None]:
        """In the block a request to stop cancels this task; the block is then left quietly."""
        task = asyncio.current_task()
        assert task is not None
        self._starting = task
        try:
            yield
        except asyncio.CancelledError:
            if not self.asked.is_set():
                raise
            task.uncancel()
        finally:
            self._starting = None

    def left_s(self, share: float = 1.0) -> float:
        """Seconds until `share` of the time to stop is used up, at least a little."""
        since = time.monotonic() if self._asked_at is None else self._asked_at
        return max(_CLOSE_S_MIN, self.limit_s * share - (time.monotonic() - since))

    def end_within(self, limit_s: float) -> None:
        """From a thread, because nobody knows what the others hang in."""

        def end() -> None:
            log.error("service.hung", limit_s=limit_s)
            sys.stderr.flush()
            os._exit(self.code)

        timer = threading.Timer(limit_s, end)
        timer.daemon = True
        timer.start()


async def _live(build: Build, name: str, stop: _Stop, refused: Errors, unavailable: Errors) -> int:
    try:
        with _at_start(refused, unavailable):
            built = build()
            service = await built if inspect.isawaitable(built) else built
        settings = service.settings
        name = service.name
        stop.limit_s = settings.stop_s
        configure(name, level=settings.log_level, form=settings.log_format)
        for variable in unknown_variables(type(settings), os.environ):
            log.warning("setting.ignored", variable=variable, why="there is no such setting")
        if service.notices:
            log.warning("configuration.noticed", notices=list(service.notices))
        is_clean = await _Life(service, stop, refused, unavailable).live()
    except ConfigurationError as error:
        _tell(f"{name} cannot start", error)
        return EXIT_CONFIGURATION
    except Unreachable as error:
        _tell(f"{name} cannot start", error)
        return EXIT_UNREACHABLE
    except (Exception, asyncio.CancelledError, SystemExit):
        # The outermost rim: nobody is left to hand a cancellation on to, and users' modules may
        # call sys.exit(0).
        log.exception("service.failed")
        return EXIT_FAILED
    return 0 if is_clean else EXIT_FAILED


def _tell(headline: str, error: Exception) -> None:
    lines = "\n".join(f"  {line}" for line in str(error).splitlines())
    sys.stderr.write(f"{headline}:\n{lines}\n")


@contextmanager
def _at_start(refused: Errors, unavailable: Errors) -> Generator[None]:
    try:
        yield
    except (ConfigurationError, Unreachable):
        raise
    except refused as error:
        raise ConfigurationError(str(error)) from error
    except unavailable as error:
        raise Unreachable("a needed server", waited_s=0, because=error) from error
    except (ConnectionError, TimeoutError) as error:
        raise Unreachable("a needed server", waited_s=0, because=error) from error


class _Life:
    """All in one task, because a resource may insist on being left where it was entered."""

    def __init__(self, service: Service, stop: _Stop, refused: Errors, unavailable: Errors) -> None:
        self._service = service
        self._stop = stop
        self._at_start = lambda: _at_start(refused, unavailable)
        self._open: list[Resource] = []
        self._is_clean = True
        self._lag = LagSampler(service.metrics)
        self._ops = Ops(
            service.name,
            host=service.settings.ops_host,
            port=service.settings.ops_port,
            ready=service.ready,
            loops=list(service.loops),
            metrics=service.metrics,
        )

    async def live(self) -> bool:
        """True when everything that was asked to stop did so by itself."""
        failure: BaseException | None = None
        self._lag.start()
        try:
            # A signal may have come while the service was built.
            await asyncio.sleep(0)
            if not self._stop.asked.is_set():
                with self._stop.ends_start(), self._at_start():
                    await self._enter()
            if not self._stop.asked.is_set():
                await self._work()
        except BaseException as error:
            failure = error
            raise
        finally:
            await self._leave(failure)
            self._lag.stop()
        log.info("service.stopped", is_clean=self._is_clean)
        return self._is_clean

    async def _enter(self) -> None:
        for resource in (self._ops, *self._service.resources):
            if resource is not self._ops:
                self._ops.waiting_for = f"{_named(resource)} is being opened"
            await resource.__aenter__()
            self._open.append(resource)

    async def _work(self) -> None:
        service = self._service
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(loop.run(), name=f"loop:{loop.name}") for loop in service.loops
            ]
            works = [group.create_task(_endless(work)) for work in service.works]
            self._ops.waiting_for = None
            spare_what_stays()
            log.info("service.started", ops_port=self._ops.port)
            await self._stop.asked.wait()
            self._ops.waiting_for = "the service is stopping"
            log.info("service.stopping")
            await self._drain()
            for loop in service.loops:
                loop.stop()
            if loops:
                await asyncio.wait(loops, timeout=self._stop.left_s(1 - _CLOSING_SHARE / 2))
            for task in (*loops, *works):
                if task.cancel() and task in loops:
                    self._is_clean = False
                    log.error("loop.cut_off", task=task.get_name())

    async def _drain(self) -> None:
        if self._service.on_drain is None:
            return
        limit_s = self._stop.left_s(1 - _CLOSING_SHARE)
        try:
            async with asyncio.timeout(limit_s):
                await self._service.on_drain()
        except Exception:
            self._is_clean = False
            log.exception("drain.failed", limit_s=limit_s)

    async def _leave(self, failure: BaseException | None) -> None:
        trace = failure.__traceback__ if failure is not None else None
        kind = type(failure) if failure is not None else None
        while self._open:
            resource = self._open.pop()
            try:
                # Each with a limit of its own: one that hangs must not keep the others open.
                async with asyncio.timeout(self._stop.left_s()):
                    await resource.__aexit__(kind, failure, trace)
            except Exception as error:
                if error is not failure:
                    self._is_clean = False
                    log.exception("resource.failed", resource=_named(resource))


async def _endless(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await work()
    raise RuntimeError(f"{getattr(work, '__qualname__', work)} ended although nobody asked it to")


def _named(resource: Resource) -> str:
    # Those made with @asynccontextmanager are all of one class; their generator has the name.
    for holder in (resource, getattr(resource, "gen", None)):
        for attribute in ("name", "__name__"):
            if isinstance(name := getattr(holder, attribute, None), str):
                return name
    return type(resource).__name__
