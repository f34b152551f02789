"""An app of the project's own around the API: routes, a middleware, a lifespan, an error handler,
a socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    yield {"greeting": "from the lifespan"}


app = FastAPI(lifespan=lifespan)


class OutOfTea(Exception):
    """Has an answer of its own."""


@app.middleware("http")
async def marked(request: Request, call_next: Any) -> Any:
    response = await call_next(request)
    response.headers["x-front"] = "passed"
    return response


@app.exception_handler(OutOfTea)
async def out_of_tea(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"tea": str(error)}, status_code=418)


@app.get("/hello")
async def hello(request: Request) -> dict[str, Any]:
    user = getattr(request.scope.get("user"), "identity", None)
    return {"greeting": request.state.greeting, "user": user}


@app.get("/tea")
async def tea() -> None:
    raise OutOfTea("gone")


@app.get("/breaks")
async def breaks() -> None:
    raise RuntimeError("a fault of the project's")


@app.get("/info")
async def info() -> dict[str, bool]:
    return {"ours": True}


@app.get("/ok")
async def ok() -> dict[str, bool]:
    return {"never": True}


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


@asynccontextmanager
async def failing(_: FastAPI) -> AsyncGenerator[None]:
    raise RuntimeError("the cache cannot be reached")
    yield


fails = FastAPI(lifespan=failing)
nothing = "not an app"
