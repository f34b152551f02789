"""A scripted stand-in for a hosted model: OpenAI's wire formats, standard library only.

    conversation.py   a request of either API, read into one form
    script.py         which scenario answers, and with what
    wire.py           the answer in the form of either API, whole or as a stream
    server.py         HTTP, the gates that tests close, the log of requests
    __main__.py       python -m scripted_model --port 8199 --script script.json

The answer is a function of the request alone: the step to play is the number of assistant turns
since the last user message, never a counter kept here. So a run that is killed and resumed by
another process, which may talk to another server of this kind, gets the answer it would have got.
That is what makes it fit for tests of durability.

A script is `{"settings": {…}, "scenarios": [{"name", "when", "after", "steps"}]}`:

    settings   chunk_chars (8), chunk_delay_ms (0): how an answer is cut into streamed chunks
    when       regular expressions by what they search: system, user (the last user message),
               last_tool (the newest tool result), model, api ("chat" or "responses"); all apply
    after      what follows the last step: "done" (the text "Done."), or "repeat" (that step again)
    steps      text         the answer's text
               tool_calls   [{"name", "args"}], all in one answer, so that they run in parallel
               json         an object, sent as text
               wait_for     a gate's name: the answer is held back while a test keeps it closed
               error        {"status", "message"}: this HTTP error instead of an answer
               latency_ms, chunk_chars, chunk_delay_ms

The first scenario that matches answers; when none does, the last user message is echoed. Strings
may hold {{user}}, {{tool}} (the newest tool result), {{tool:NAME}}, {{model}} and {{system:REGEX}}
(its first group in the system prompt). A user message may bring its own script:

    do it ```stub [{"tool_calls": [{"name": "ls", "args": {"path": "/"}}]}, {"text": "done"}]```
"""

from __future__ import annotations

from .server import ScriptedServer

__all__ = ["ScriptedServer"]
