"""A run as it is ordered from the scheduler, made of what the client sent and of its assistant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bedplate.chassis.ids import uuid7
from bedplate.kernel.errors import Refused
from bedplate.kernel.setup import Setup, merged, merged_setup
from bedplate_proto.runs import CreateRun
from bedplate_proto.vocabulary import (
    Durability,
    IfNotExists,
    MultitaskStrategy,
    OnCompletion,
)

from .access.callers import Caller
from .asking import setup_of
from .assistants import Assistant
from .checking import checked
from .errors import Unprocessable
from .forms import Checkpoint, Object, RunCreate, place_of
from .json_text import dumped

USER_KEY_CHARS_MAX = 256
RESUME_WITHOUT_THREAD = "You must provide a thread_id when resuming."


@dataclass(frozen=True)
class Asked:
    """Who asks for a run, and where: on a thread of theirs, or on one made for it.

    `user_key`: the key of `configurable` that names the user it is for. `speaks_protocol`: its
    events are also written for the event-streaming protocol. `webhook` is one that may be called.
    """

    tenant: str
    thread_id: UUID | None
    request_id: str
    user_key: str
    speaks_protocol: bool = False
    webhook: str | None = None
    caller: Caller | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    encryption_context: Mapping[str, Any] | None = None


def run_order(form: RunCreate, assistant: Assistant, asked: Asked) -> CreateRun:
    """The order, with a new run id. Raises `Refused` for what contradicts itself."""
    is_stateless = asked.thread_id is None
    if is_stateless and form.command is not None and form.command.get("resume") is not None:
        raise Refused(RESUME_WITHOUT_THREAD)
    setup, place = _without_place(
        merged_setup(assistant.setup, setup_of(form.config, form.context))
    )
    metadata = merged(
        setup.config.get("metadata"),
        form.metadata,
        {"assistant_id": str(assistant.assistant_id)},
    )
    deletes = is_stateless and form.on_completion is not OnCompletion.KEEP
    return CreateRun(
        tenant=asked.tenant,
        run_id=uuid7(),
        thread_id=asked.thread_id or uuid7(),
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        kwargs=dumped(_kwargs(form, setup, place, asked)),
        assistant_metadata=dumped(assistant.metadata),
        metadata=dumped(metadata),
        thread_metadata=dumped(
            {"graph_id": assistant.graph_id, "assistant_id": str(assistant.assistant_id)}
        ),
        thread_config=dumped(setup.lasting),
        multitask_strategy=(
            MultitaskStrategy.ENQUEUE
            if is_stateless or form.multitask_strategy is None
            else form.multitask_strategy
        ),
        if_not_exists=IfNotExists.CREATE if is_stateless else _if_not_exists(form),
        after_s=form.after_seconds or 0.0,
        user_key=_user(setup, asked),
        user=None if asked.caller is None else asked.caller.carried(),
        encryption_context=dumped(asked.encryption_context) if asked.encryption_context else None,
        is_temporary=is_stateless,
        deletes_thread=deletes,
    )


def _user(setup: Setup, asked: Asked) -> str | None:
    """Raises `Unprocessable`."""
    key = asked.user_key
    own = {} if asked.caller is None else asked.caller.configurable()
    user = own.get(key, (setup.config.get("configurable") or {}).get(key))
    if user is None:
        return None
    if not isinstance(user, str | int) or len(str(user)) > USER_KEY_CHARS_MAX:
        raise Unprocessable(
            f"config.configurable.{key}: must be a text of at most {USER_KEY_CHARS_MAX} characters"
        )
    return str(user)


def _if_not_exists(form: RunCreate) -> IfNotExists:
    return form.if_not_exists or IfNotExists.REJECT


def _kwargs(form: RunCreate, setup: Setup, place: Object, asked: Asked) -> Object:
    config = {
        **setup.config,
        "configurable": {
            **(setup.config.get("configurable") or {}),
            **asked.headers,
            "langgraph_request_id": asked.request_id,
        },
    }
    context = setup.context
    if asked.caller is not None:
        config["configurable"] |= asked.caller.configurable()
        if "user_id" in context:
            # Given by the client, and read by graphs that trust it.
            context = {**context, "user_id": asked.caller.identity}
    if asked.speaks_protocol:
        config["configurable"]["__event_streaming_v2"] = True
    kwargs: Object = {
        "input": form.input,
        "command": form.command,
        "config": config,
        "context": context,
        "stream_mode": list(dict.fromkeys(form.stream_mode)),
        "interrupt_before": form.interrupt_before,
        "interrupt_after": form.interrupt_after,
        "webhook": asked.webhook,
        "feedback_keys": form.feedback_keys,
        "temporary": asked.thread_id is None,
        "subgraphs": bool(form.stream_subgraphs),
        "resumable": bool(form.stream_resumable),
        "checkpoint_during": form.checkpoint_during,
        "durability": _durability(form),
    }
    if form.strict_resume:
        kwargs["strict_resume"] = True
    if asked.speaks_protocol:
        kwargs["event_streaming"] = "v2"
    place = place_of(form.checkpoint, form.checkpoint_id) or place
    if place and asked.thread_id is not None:
        kwargs["checkpoint"] = place
    return kwargs


def _durability(form: RunCreate) -> Durability:
    if form.durability is not None:
        return form.durability
    return Durability.EXIT if form.checkpoint_during is False else Durability.ASYNC


def _without_place(setup: Setup) -> tuple[Setup, Object]:
    """Raises `Unprocessable`: a run must not fail later for its form."""
    rest, place = setup.without_place()
    try:
        checked(Checkpoint, place)
    except Unprocessable as error:
        raise Unprocessable(f"config.configurable.{error.message}") from error
    return rest, place if "checkpoint_id" in place else {}
