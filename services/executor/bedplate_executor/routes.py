"""Which subject is whose verb. Questions are passed on unread to a worker, which has the graphs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bedplate.bus.serving import Hint, Order, Poll, Route
from bedplate_proto import subjects
from bedplate_proto.envelope import Message

from .keeper import Keeper

QUESTIONS = (
    subjects.READ_STATE,
    subjects.READ_HISTORY,
    subjects.UPDATE_STATE,
    subjects.PATCH_STATE,
    subjects.BULK_UPDATE_STATE,
    subjects.FORGET_RUN,
    subjects.KEEP_LATEST,
    subjects.COPY_CHECKPOINTS,
    subjects.DRAW_GRAPH,
    subjects.READ_SCHEMAS,
    subjects.READ_SUBGRAPHS,
    subjects.PUT_ITEM,
    subjects.GET_ITEM,
    subjects.DELETE_ITEM,
    subjects.SEARCH_ITEMS,
    subjects.LIST_NAMESPACES,
    subjects.ASSIGN_PRIORITIES,
)


def routes(keeper: Keeper) -> list[Route]:
    asked: list[Route] = [
        Order(subject, _passed_on(keeper, subject.rest.rsplit(".", 1)[-1])) for subject in QUESTIONS
    ]
    return [
        *asked,
        Poll(subjects.COUNT_SLOTS, keeper.count_slots),
        Hint(subjects.RUN_SIGNAL, keeper.on_signal),
    ]


def _passed_on(keeper: Keeper, verb: str) -> Callable[[Message], Awaitable[bytes]]:
    async def ask(question: Message) -> bytes:
        return await keeper.ask(verb, question.model_dump_json().encode())

    return ask
