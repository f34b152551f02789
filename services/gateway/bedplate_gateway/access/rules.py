"""What each route needs: an action on a resource, as `langgraph_sdk.Auth` handlers know them.

A route without a rule is refused where authentication is configured (`http.door`), and
`tests/unit/gateway/test_rules.py` fails on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Named = tuple[str, str]


@dataclass(frozen=True)
class Rule:
    """An action on a resource. The door asks for it before the handler, about what the path names
    (`{thread_id}`, `{run_id}`, `{assistant_id}`, `{cron_id}`, `{delivery_id}`): a foreign object is
    404 there. A rule `with_body` is asked for by the verb, which knows what is to be written or
    searched; an answer whose verb has not asked is thrown away."""

    resource: str
    action: str
    is_asked_by_verb: bool = False
    may_be_new: bool = False

    @property
    def name(self) -> Named:
        return self.resource, self.action

    @property
    def with_body(self) -> Rule:
        return replace(self, is_asked_by_verb=True)

    @property
    def or_new(self) -> Rule:
        """The thread need not be there yet: a stream may be opened before its first run."""
        return replace(self, may_be_new=True)


OPEN = Rule("", "open")
"""No token is needed, and none is looked at."""
SIGNED_IN = Rule("", "signed in")
"""Whoever is let in at all."""

ASSISTANTS_CREATE = Rule("assistants", "create")
ASSISTANTS_READ = Rule("assistants", "read")
ASSISTANTS_UPDATE = Rule("assistants", "update")
ASSISTANTS_DELETE = Rule("assistants", "delete")
ASSISTANTS_SEARCH = Rule("assistants", "search")

THREADS_CREATE = Rule("threads", "create")
THREADS_READ = Rule("threads", "read")
THREADS_UPDATE = Rule("threads", "update")
THREADS_DELETE = Rule("threads", "delete")
THREADS_SEARCH = Rule("threads", "search")
THREADS_CREATE_RUN = Rule("threads", "create_run")

CRONS_CREATE = Rule("crons", "create")
CRONS_READ = Rule("crons", "read")
CRONS_UPDATE = Rule("crons", "update")
CRONS_DELETE = Rule("crons", "delete")
CRONS_SEARCH = Rule("crons", "search")

STORE_PUT = Rule("store", "put")
STORE_GET = Rule("store", "get")
STORE_DELETE = Rule("store", "delete")
STORE_SEARCH = Rule("store", "search")
STORE_LIST_NAMESPACES = Rule("store", "list_namespaces")
