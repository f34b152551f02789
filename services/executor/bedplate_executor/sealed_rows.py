"""What of a run's and a thread's rows is encrypted, at the edge where users' code begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from bedplate.graphs.sealing import Sealing
from bedplate.ledger import Claimed, Outcome

Context = Mapping[str, Any] | None


def context_of(claimed: Claimed) -> Context:
    """What is told to the project's handlers of whatever this run keeps."""
    told = claimed.encryption_context
    return None if told is None else from_json(told)


async def opened(claimed: Claimed, sealing: Sealing | None) -> Claimed:
    """The run as its client has asked for it."""
    if sealing is None:
        return claimed
    return replace(
        claimed,
        kwargs=await sealing.opened_text(claimed.kwargs),
        metadata=await sealing.opened_text(claimed.metadata),
        user=None if claimed.user is None else await sealing.opened_text(claimed.user),
    )


async def sealed_outcome(outcome: Outcome, sealing: Sealing | None, context: Context) -> Outcome:
    """The outcome with what the thread shows as its row keeps it."""
    if sealing is None:
        return outcome
    values, interrupts = outcome.values, outcome.interrupts
    return replace(
        outcome,
        values=None if values is None else await sealed_part(values, "values", sealing, context),
        interrupts=None
        if interrupts is None
        else await sealed_part(interrupts, "interrupts", sealing, context),
    )


async def sealed_part(text: str, field: str, sealing: Sealing | None, context: Context) -> str:
    """`values` or `interrupts` of a thread."""
    if sealing is None:
        return text
    return await sealing.sealed_text(text, model="thread", field=field, context=context)
