"""Which subject is whose verb."""

from __future__ import annotations

from bedplate.bus.serving import Hint, Order, Route
from bedplate_proto import subjects

from .crons import Crons
from .scheduler import Scheduler


def routes(scheduler: Scheduler, crons: Crons) -> list[Route]:
    return [
        Order(subjects.CREATE_RUN, scheduler.create_run),
        Order(subjects.CREATE_RUNS, scheduler.create_runs),
        Order(subjects.CANCEL_RUNS, scheduler.cancel_runs),
        Order(subjects.CANCEL_RUN, scheduler.cancel_run),
        Order(subjects.DELETE_RUN, scheduler.delete_run),
        Order(subjects.DELETE_THREAD, scheduler.delete_thread),
        Order(subjects.COPY_THREAD, scheduler.copy_thread),
        Order(subjects.PRUNE_THREADS, scheduler.prune_threads),
        Order(subjects.CREATE_CRON, crons.create_cron),
        Order(subjects.UPDATE_CRON, crons.update_cron),
        Order(subjects.DELETE_CRON, crons.delete_cron),
        Order(subjects.DELETE_CRONS_OF_ASSISTANT, crons.delete_crons_of_assistant),
        Hint(subjects.THREAD_FREED, scheduler.on_thread_freed, is_shared=True),
        Hint(subjects.SCHEDULER_POKE, scheduler.on_poke),
    ]
