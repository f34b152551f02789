"""Who comes in (`Bearer <name>`), and what each of them may do: their own, and what is shared with
them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from langgraph_sdk import Auth, Priority, PriorityContext
from langgraph_sdk.priority.types import PrioritySettings

auth = Auth()
priority = Priority()


def note(journal: str, name: str) -> None:
    with Path(journal).open("a") as file:
        file.write(name + "\n")


PEOPLE = ("alice", "al", "bob", "guest")


@auth.authenticate
async def authenticate(authorization: str | None, headers: dict[bytes, bytes]) -> dict[str, Any]:
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise Auth.exceptions.HTTPException(401, "Who are you?", {"WWW-Authenticate": "Bearer"})
    if journal := headers.get(b"x-journal"):
        note(journal.decode(), name)
    if name == "broken":
        raise RuntimeError("the directory of people is gone")
    if name not in PEOPLE:
        raise Auth.exceptions.HTTPException(451, f"{name} is not welcome")
    return {
        "identity": name,
        "permissions": [] if name == "guest" else ["threads:write"],
        "team": "blue",
        "token": f"{os.environ['GUARDED_SECRET']}-{name}",
    }


@auth.on
async def nothing_else(ctx: Auth.types.AuthContext, value: Any) -> bool:
    return False


@auth.on.threads
async def own_threads(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
    assert "threads:write" in ctx.permissions, "guests may only look"
    return {"owner": ctx.user.identity}


@auth.on.threads.create
async def owned(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.threads.create_run
async def run_owned(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on(resources="threads", actions=["read", "search"])
async def shared_threads(ctx: Auth.types.AuthContext, value: Any) -> Any:
    name = ctx.user.identity
    return {"$or": [{"owner": name}, {"readers": {"$contains": name}}]}


@auth.on.assistants
async def own_assistants(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return {"owner": ctx.user.identity}


@auth.on.assistants.create
async def assistant_owned(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value["metadata"]["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on(resources="assistants", actions=["read", "search"])
async def known_assistants(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return {"$or": [{"owner": ctx.user.identity}, {"created_by": {"$eq": "system"}}]}


@auth.on.crons
async def own_crons(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.store
async def own_items(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    namespace = tuple(value["namespace"] or ())
    if not namespace or namespace[0] != ctx.user.identity:
        value["namespace"] = (ctx.user.identity, *namespace)


@priority.assign
async def by_team(ctx: PriorityContext) -> PrioritySettings:
    return {"fairness_group": f"{ctx.user['team']}-{ctx.user.identity}"}
