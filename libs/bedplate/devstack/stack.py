"""The whole product on one machine: servers, schema, services. `bedplate dev` and tests drive it.

    with Stack(Path(".bedplate"), project=Path("langgraph.json")) as stack:
        httpx.get(f"{stack.url}/ok")
        stack.kill("executor")                 # kill -9, with its workers
        stack.start_service("executor")

    async with Stack(data_dir) as stack: ...   # the same from an event loop

`start` returns when every service is ready. Nothing restarts by itself unless `supervise` runs,
which is what makes the stack usable for tests of failures. Everything is synchronous and bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from bedplate.devstack.errors import ConfigurationRefused, ServiceFailed
from bedplate.devstack.output import Output
from bedplate.devstack.ports import HOST
from bedplate.devstack.processes import Process
from bedplate.devstack.reloading import Reloading
from bedplate.devstack.servers import GIVEN, Endpoints, Servers
from bedplate.devstack.services import (
    EXIT_CONFIGURATION,
    SERVICES,
    Kind,
    Replica,
    replica_name,
)
from bedplate.devstack.supervision import STOP_S, Supervision, ending
from bedplate.graphs.mount import mount_prefix
from bedplate.kernel.errors import Refused

READY_S = 90.0
_POLL_S = 0.05
# Longest until `supervise` notices that it shall end.
_LOOK_S = 0.2
_TOLD_LINES = 25
# Which of their settings says where the gateway is.
_CALLS_THE_GATEWAY = {"webhook-dispatcher": "APP_URL", "executor": "GATEWAY_URL"}


class Stack:
    """Constructed with everything it needs to know; runs between `start` and `stop`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        project: Path | None = None,
        workers: int = 1,
        host: str = HOST,
        port: int | None = None,
        reload: bool = False,
        env: Mapping[str, str] | None = None,
        log_format: str = "json",
        log_level: str = "info",
        services: Sequence[Kind] = SERVICES,
        on_output: Callable[[str, str], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`project` is a langgraph.json; `port` the gateway's (none: a free one); `env` adds to the
        environment of the services, and names given servers; `on_output(service, line)` gets what
        the services write as it comes; `tell` gets sentences for a person.
        """
        self.data_dir = data_dir.absolute()
        self._project = None if project is None else project.absolute()
        self._host, self._port = host, port
        self._kinds = {kind.name: kind for kind in services}
        self._env = {**os.environ, **(env or {})}
        self._settings = {
            "BEDPLATE_EXECUTOR_WORKERS": str(workers),
            "BEDPLATE_EXECUTOR_RELOAD": str(int(reload)),
            "BEDPLATE_LOG_FORMAT": log_format,
            "BEDPLATE_LOG_LEVEL": log_level,
        }
        if self._project is not None:
            for kind in ("EXECUTOR", "GATEWAY", "RUN_SCHEDULER", "WEBHOOK_DISPATCHER"):
                self._settings[f"BEDPLATE_{kind}_CONFIG"] = str(self._project)
        self._given_env = dict(env or {})
        self._tell = tell or (lambda _: None)
        self._output = Output(on_output)
        self._replicas: dict[str, Replica] = {}
        self._files: Reloading | None = None
        if reload and self._project is not None:
            self._files = Reloading(self._project, self._env)
        self.servers = Servers(self.data_dir, env=self._env, tell=self._tell)
        self.ready_in_s = 0.0

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Stack:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    # Start and stop

    def start(self) -> None:
        """Bring everything up. On failure nothing is left running.

        Raises what `Servers.start` raises, `ConfigurationRefused` with what the executor says
        about the project, `ServiceFailed` with the end of a log.
        """
        began = time.monotonic()
        schema = threading.Thread(target=_import_schema, daemon=True)
        schema.start()
        try:
            self.servers.start()
            schema.join()
            asyncio.run(_prepare(self.endpoints, self._env))
            for kind in self._kinds.values():
                self._launch(self._replica(kind.name, 1))
            self.await_ready()
        except BaseException:
            self._replicas.clear()
            self.servers.abandon()
            self._output.close()
            raise
        self.ready_in_s = time.monotonic() - began

    def stop(self) -> None:
        """SIGTERM to the services in reverse order, SIGKILL after a limit, then the servers.

        Idempotent. `hurry` from another thread makes it short.
        """
        try:
            for process in reversed(self._running()):
                process.stop(STOP_S)
        finally:
            self._replicas.clear()
            self.servers.stop()
            self._output.close()

    def hurry(self) -> None:
        """Kill the services now; what they had in hand is resumed at the next start."""
        for process in self._running():
            process.send(signal.SIGKILL, tree=True)

    def await_ready(self, limit_s: float = READY_S) -> None:
        """Return when every service that should run is ready. Raises as `start` does."""
        until = time.monotonic() + limit_s
        waiting = dict(self._replicas)
        with ThreadPoolExecutor(max_workers=max(1, len(waiting))) as asking:
            while waiting:
                names = list(waiting)
                answers = asking.map(lambda name: self._replicas[name].waiting_for(), names)
                reasons = dict(zip(names, answers, strict=True))
                for name, reason in reasons.items():
                    if reason is None:
                        del waiting[name]
                    elif not self._replicas[name].is_running:
                        raise self._failure(self._replicas[name])
                    elif time.monotonic() > until:
                        raise ServiceFailed(f"{name} is not ready after {limit_s:.0f} s: {reason}")
                if waiting:
                    self.servers.processes.wait_for_change(_POLL_S)

    def supervise(self, until: threading.Event) -> None:
        """Bring back what dies by itself, until the event is set; start anew what has to see
        changed files if the stack reloads. Raises `ConfigurationRefused` if it does not."""
        with ExitStack() as watched:
            if self._files is not None:
                watched.enter_context(self._files)
            supervision = Supervision(
                self._replicas,
                self.servers,
                self._files,
                launch=self._launch,
                failure=self._failure,
                tell=self._tell,
            )
            while not until.is_set():
                supervision.look()
                self.servers.processes.wait_for_change(_LOOK_S)

    # What tests and people ask

    @property
    def endpoints(self) -> Endpoints:
        return self.servers.endpoints

    @property
    def url(self) -> str:
        """Of the first gateway."""
        return self.url_of("gateway")

    def url_of(self, service: str, *, replica: int = 1) -> str:
        return self._replicas[replica_name(service, replica)].url

    def ops_url(self, service: str, *, replica: int = 1) -> str:
        """Where `/healthz`, `/readyz` and `/metrics` of a service are."""
        return f"http://{HOST}:{self._replicas[replica_name(service, replica)].ops_port}"

    def services(self) -> list[str]:
        """The names of all replicas that were started, `executor-2` for a second executor."""
        return list(self._replicas)

    def pids(self, service: str, *, replica: int = 1) -> list[int]:
        """The service's process first, then everything below it (an executor's workers)."""
        return self._process(service, replica).family()

    def logs(self, service: str, *, replica: int = 1) -> Path:
        return self.servers.folder.logs / f"{replica_name(service, replica)}.log"

    # Failures and repairs

    def kill(
        self,
        service: str,
        number: int = signal.SIGKILL,
        *,
        replica: int = 1,
        tree: bool = True,
    ) -> list[int]:
        """Signal a service and (`tree`) everything below it; the pids. After SIGKILL they are gone.

        `tree=False` hits only the service's own process: an executor's keeper without its workers.
        """
        process = self._process(service, replica)
        if number == signal.SIGKILL and tree:
            family = process.family()
            process.kill()
            return family
        reached = process.send(number, tree=tree)
        if number == signal.SIGKILL:
            process.wait(5)
        return reached

    def start_service(
        self, service: str, *, replica: int = 1, env: Mapping[str, str] | None = None
    ) -> None:
        """Start a service that does not run, or one more on ports of its own; return when ready.

        A replica that was started before keeps its ports; `env` adds to the environment of this
        start.
        """
        known = self._replica(service, replica)
        assert not known.is_running, f"{known.name} is not running"
        if env:
            known.env = {**known.env, **env}
            known.prefix = self._prefix(known.env) if known.kind.has_clients else ""
        self._launch(known)
        self.await_ready()

    def stop_service(
        self, service: str, *, replica: int = 1, limit_s: float = STOP_S
    ) -> int | None:
        """SIGTERM, then SIGKILL after `limit_s`; the exit code. It is not supervised any more."""
        process = self._process(service, replica)
        code = process.stop(limit_s)
        del self._replicas[replica_name(service, replica)]
        return code

    # Inside

    def _running(self) -> list[Process]:
        replicas = list(self._replicas.values())
        return [replica.process for replica in replicas if replica.process and replica.is_running]

    def _process(self, service: str, replica: int) -> Process:
        process = self._replicas[replica_name(service, replica)].process
        assert process is not None, f"{service} was started"
        return process

    def _replica(self, service: str, number: int) -> Replica:
        name = replica_name(service, number)
        if (known := self._replicas.get(name)) is not None:
            return known
        kind, ports = self._kinds[service], self.servers.ports
        port = None
        if kind.has_clients:
            port = self._port if number == 1 and self._port is not None else ports.of(name)
        ops_port = ports.of(f"{name}-ops")
        env = {
            **{key: value for key, value in self._env.items() if key not in _server_variables()},
            **self._settings,
            "DATABASE_URI": self.endpoints.database_uri,
            "NATS_URL": self.endpoints.nats_url,
            f"{kind.prefix}_OPS_PORT": str(ops_port),
        }
        if self.endpoints.redis_uri is not None:
            env["REDIS_URI"] = self.endpoints.redis_uri
        if port is not None:
            env |= {f"{kind.prefix}_HOST": self._host, f"{kind.prefix}_PORT": str(port)}
        if (calls := _CALLS_THE_GATEWAY.get(service)) and "gateway" in self._kinds:
            env[f"{kind.prefix}_{calls}"] = self._replica("gateway", 1).url
        # What the caller gave wins over our settings, but cannot move the servers.
        env |= {k: v for k, v in self._given_env.items() if k not in _server_variables()}
        log = self.servers.folder.logs / f"{name}.log"
        prefix = self._prefix(env) if kind.has_clients else ""
        replica = Replica(kind, number, env, ops_port, port, self._host, log, prefix)
        self._replicas[name] = replica
        return replica

    def _prefix(self, env: Mapping[str, str]) -> str:
        try:
            return mount_prefix(self._project, env)
        except Refused:
            # The service that cannot use it says so at its start.
            return ""

    def _launch(self, replica: Replica) -> None:
        output = self._output.open(replica.name, replica.log)
        cwd = self.data_dir if self._project is None else self._project.parent
        try:
            replica.launch(self.servers.processes, cwd=cwd, output=output)
        finally:
            os.close(output)

    def _failure(self, replica: Replica) -> ConfigurationRefused | ServiceFailed:
        assert replica.process is not None, f"{replica.name} was started"
        code = replica.process.wait(0)
        # What a pipe still holds of its last words reaches the log within moments.
        with contextlib.suppress(TimeoutError):
            self._output.close(0.5)
        if code == EXIT_CONFIGURATION:
            return ConfigurationRefused(replica.complaint() or replica.told(), service=replica.name)
        told = "\n".join(replica.told().splitlines()[-_TOLD_LINES:])
        return ServiceFailed(
            f"{replica.name} ended while starting ({ending(code)}); the end of"
            f" {replica.log}:\n{told}",
            service=replica.name,
            code=code,
        )


async def _prepare(endpoints: Endpoints, env: Mapping[str, str]) -> None:
    from bedplate.devstack import schema

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(schema.migrate(endpoints.database_uri))
            group.create_task(schema.declare(endpoints.nats_url, env))
    except ExceptionGroup as failed:
        # One reason is enough for a person.
        raise failed.exceptions[0] from failed


def _import_schema() -> None:
    """Importing the drivers takes a third of a second: done while the servers start."""
    # What goes wrong here goes wrong again, and is shown, where the module is used.
    with contextlib.suppress(Exception):
        importlib.import_module("bedplate.devstack.schema")


def _server_variables() -> set[str]:
    return {variable for variables in GIVEN.values() for variable in variables}
