"""`Bearer <name>@<tenant>` is who that says. Threads and assistants belong to their owners."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> dict[str, Any]:
    name, _, tenant = (authorization or "").removeprefix("Bearer ").partition("@")
    if not tenant:
        raise Auth.exceptions.HTTPException(401, "Who are you?")
    return {"identity": name, "tenant": tenant, "token": f"plaintext needle of {name}"}


@auth.on
async def own(ctx: Auth.types.AuthContext, value: Any) -> Any:
    if ctx.resource == "store":
        return True
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on(resources="assistants", actions=["read", "search"])
async def known_assistants(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return {"$or": [{"owner": ctx.user.identity}, {"created_by": {"$eq": "system"}}]}
