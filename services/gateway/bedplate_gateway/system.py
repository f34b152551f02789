"""What the server says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from bedplate.bus.broker import Bus
from bedplate.chassis.log import get_logger
from bedplate.kernel.errors import Unavailable
from bedplate_proto import subjects
from bedplate_proto.runs import CountSlots, Slots

from .forms import Object
from .rows import Rows

log = get_logger()

# An executor that is there answers in a millisecond or two.
_COUNT_S = 0.25


class System:
    def __init__(self, rows: Rows, bus: Bus, *, tenant: str, flags: Mapping[str, bool]) -> None:
        self._rows = rows
        self._bus = bus
        self._tenant = tenant
        self._flags = flags

    async def health(self, *, checks_database: bool) -> Object:
        """`ok` is false when something that was looked at cannot be used."""
        services = {"nats": "unhealthy" if await self._bus.ready() else "healthy"}
        services["postgres"] = "skipped"
        if checks_database:
            services["postgres"] = "healthy" if await self._has_database() else "unhealthy"
        return {"ok": "unhealthy" not in services.values(), "services": services}

    async def _has_database(self) -> bool:
        try:
            await self._rows.ready()
        except Unavailable as error:
            log.warning("database.unhealthy", why=error.message)
            return False
        return True

    def version(self) -> str:
        return _version("bedplate")

    def info(self) -> Object:
        return {
            "version": self.version(),
            "langgraph_py_version": _version("langgraph"),
            "flags": {
                **self._flags,
                "langsmith": False,
                "langsmith_tracing_replicas": False,
                "langsmith_tracing_session_on_runs": False,
                "strict_resume": True,
            },
            "host": {
                "kind": "self-hosted",
                "project_id": None,
                "host_revision_id": None,
                "revision_id": None,
                "tenant_id": self._tenant,
            },
        }

    async def queue(self) -> Object:
        """How many runs wait and run now."""
        row = await self._rows.one("read_queue", self._tenant)
        return {
            "n_pending": row["n_pending"],
            "n_running": row["n_running"],
            "pending_runs_wait_time_max_secs": row["waited_s_max"],
            "pending_runs_wait_time_med_secs": row["waited_s_median"],
            "pending_unblocked_runs_wait_time_max_secs": row["unblocked_s_max"],
            "pending_unblocked_runs_wait_time_med_secs": row["unblocked_s_median"],
        }

    async def workers(self) -> Object:
        """Runs that executors hold, and that they would take: of those who answer at once."""
        told = await self._bus.poll(subjects.COUNT_SLOTS, CountSlots(), within_s=_COUNT_S)
        every = [Slots.model_validate_json(one) for one in told]
        own = [one for one in every if one.tenant == self._tenant]
        active, available = sum(one.held for one in own), sum(one.free for one in own)
        return {"max": active + available, "active": active, "available": available}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0.0.0"
