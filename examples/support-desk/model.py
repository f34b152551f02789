"""Which model the agent talks to: a provider's, or the scripted one that comes with the example."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from scripted_model import ScriptedServer

SCRIPT = Path(__file__).with_name("script.json")
NOBODY_LISTENS = "http://127.0.0.1:9"
ANSWER_S_MAX = 150.0


def chat_model(*, will_be_called: bool = True) -> BaseChatModel:
    """The model that `MODEL` names (`provider:name`), else the scripted one.

    `SUPPORT_DESK_MODEL_URL` names a scripted server that runs elsewhere, so that tests see its log
    and hold its gates while they kill workers; it goes before `MODEL`. Raises what the provider's
    package raises when its key is missing.
    """
    elsewhere = os.environ.get("SUPPORT_DESK_MODEL_URL")
    name = os.environ.get("MODEL")
    if name and not elsewhere:
        return init_chat_model(name)
    if elsewhere:
        url = elsewhere.rstrip("/")
    else:
        url = _own_server(os.getpid()).url if will_be_called else NOBODY_LISTENS
    return ChatOpenAI(
        model="scripted",
        base_url=f"{url}/v1",
        api_key=lambda: "no key needed",
        use_responses_api=False,
        stream_usage=True,
        timeout=ANSWER_S_MAX,
    )


@functools.cache
def _own_server(process_id: int) -> ScriptedServer:
    """This process's own scripted server, in a daemon thread from the first call on.

    Every worker has one, and it ends with the worker: its answers depend on the request alone, so
    the worker that takes a run over goes on with the right one. The process id is the key because
    threads do not survive a fork.
    """
    return ScriptedServer(json.loads(SCRIPT.read_text(encoding="utf-8"))).start()
