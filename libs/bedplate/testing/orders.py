"""Orders as a gateway would give them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from bedplate_proto.runs import CreateRun
from bedplate_proto.vocabulary import IfNotExists, MultitaskStrategy

TENANT = "default"
ASSISTANT = UUID("11111111-1111-4111-8111-111111111111")


def work(graph_input: Any) -> str:
    """A run's `kwargs`: this input, everything else as it is when a client says nothing."""
    return json.dumps(
        {
            "input": graph_input,
            "command": None,
            "config": {"configurable": {}},
            "context": {},
            "stream_mode": ["values"],
            "interrupt_before": None,
            "interrupt_after": None,
            "webhook": None,
            "subgraphs": False,
            "resumable": False,
            "durability": "async",
        }
    )


def create_run(thread_id: UUID | None = None, **changed: Any) -> CreateRun:
    """A plain run, on a new thread unless told otherwise; `changed` fields are not validated."""
    order = CreateRun(
        tenant=TENANT,
        run_id=uuid4(),
        thread_id=thread_id or uuid4(),
        assistant_id=ASSISTANT,
        graph_id="agent",
        kwargs="{}",
        metadata="{}",
        thread_metadata="{}",
        thread_config="{}",
        multitask_strategy=MultitaskStrategy.ENQUEUE,
        if_not_exists=IfNotExists.CREATE,
        after_s=0,
        is_temporary=False,
        deletes_thread=False,
    )
    return order.model_copy(update=changed)
