"""The model of the agents: it plays the script that a user message brings along.

`SCRIPTED_MODEL_URL` is the address of `examples/support-desk/scripted_model`; without it the graphs
load, and their runs fail because nobody listens.
"""

from __future__ import annotations

import os

from langchain_openai import ChatOpenAI

NOBODY_LISTENS = "http://127.0.0.1:9"
ANSWER_S_MAX = 150.0


def scripted_model() -> ChatOpenAI:
    return ChatOpenAI(
        model="scripted",
        base_url=f"{os.environ.get('SCRIPTED_MODEL_URL', NOBODY_LISTENS).rstrip('/')}/v1",
        api_key=lambda: "no key needed",
        use_responses_api=False,
        stream_usage=True,
        timeout=ANSWER_S_MAX,
    )
