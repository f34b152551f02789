"""The server itself over HTTP (contract endpoints.md 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bedplate.chassis.metrics import Metrics

from .. import shapes
from ..access import rules
from ..json_text import dumped
from ..system import System
from .answers import JSON, json_answer
from .body import choice_of, flag_of
from .docs_page import POLICY, page_of
from .middleware import Answered
from .openapi import document_of, with_custom, with_security
from .paths import Path, Query

TAG = "System"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class SystemPaths:
    """One method per path."""

    def __init__(
        self,
        system: System,
        metrics: Metrics,
        answered: Answered,
        paths: Sequence[Path],
        *,
        security: Mapping[str, Any],
        custom: Callable[[], Mapping[str, Any]],
        prefix: str,
    ) -> None:
        """`paths` are all the others, for the document; `security` and the document of `custom` are
        the project's words on it; `prefix` is where it is served."""
        self._system = system
        self._metrics = metrics
        self._answered = answered
        self._paths = paths
        self._security = security
        self._custom = custom
        self._prefix = prefix
        self._whole: dict[str, Any] | None = None
        self._document: dict[str, Any] | None = None

    async def ok(self, request: Request) -> Response:
        checks = flag_of(request, "check_db")
        health = await self._system.health(checks_database=checks)
        # Whoever asks only whether we are here is not told to restart us because a server is away.
        status = 500 if checks and not health["ok"] else 200
        return json_answer(dumped(health if checks else {**health, "ok": True}), status=status)

    async def bare_ok(self, _: Request) -> Response:
        """All there is of this group where it is switched off."""
        return json_answer(dumped({"ok": True}))

    async def info(self, _: Request) -> Response:
        return json_answer(dumped(self._system.info()))

    async def metrics(self, request: Request) -> Response:
        form = choice_of(request, "format", default="prometheus", choices=("prometheus", "json"))
        if form == "prometheus":
            return Response(self._metrics.text(), headers={"content-type": _PROMETHEUS})
        queue, workers = await self._system.queue(), await self._system.workers()
        api = {"http_requests_total": self._answered.totals()}
        return json_answer(dumped({"queue": queue, "workers": workers, "api": api}))

    async def docs(self, _: Request) -> Response:
        headers = {"content-security-policy": POLICY}
        return HTMLResponse(page_of(self._described()), headers=headers)

    async def openapi(self, _: Request) -> Response:
        if self._whole is None:
            whole = with_custom(self._described(), self._custom())
            self._whole = with_security(whole, self._security)
        return json_answer(dumped(self._whole))

    def _described(self) -> dict[str, Any]:
        if self._document is None:
            every = [*self.table(), *self._paths]
            version = self._system.version()
            self._document = document_of(every, version=version, prefix=self._prefix)
        return self._document

    def table(self) -> list[Path]:
        check = Query("check_db", {"type": "boolean", "default": False}, "Also ask PostgreSQL.")
        return [
            Path("GET", "/ok", self.ok, "Whether the server works.", TAG,
                 rule=rules.OPEN,
                 answer=shapes.Health, query=(check,), errors=(422, 500)),
            Path("GET", "/", self.ok, "The same.", TAG,
                 rule=rules.SIGNED_IN,
                 answer=shapes.Health, query=(check,), errors=(422, 500)),
            Path("GET", "/info", self.info, "Version and what is served.", TAG,
                 rule=rules.SIGNED_IN,
                 answer=shapes.ServerInfo),
            Path("GET", "/metrics", self.metrics, "Measurements.", TAG,
                 rule=rules.OPEN, answer={"type": "string"},
                 media="text/plain", other_media=(JSON,), errors=(422, 503),
                 query=(
                     Query("format", {"type": "string", "enum": ["prometheus", "json"],
                                      "default": "prometheus"}, "Which form."),)),
            Path("GET", "/docs", self.docs, "This API, for people.", TAG,
                 rule=rules.OPEN,
                 answer={"type": "string"}, media="text/html"),
            Path("GET", "/openapi.json", self.openapi, "This document.", TAG,
                 rule=rules.OPEN,
                 answer={"type": "object"}),
        ]  # fmt: skip
