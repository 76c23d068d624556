"""What a server of its own offers beside uploads: greeting, metrics, health. A mounted application has none of them."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from tusd_py.core.errors import UploadError
from tusd_py.service.metrics import CONTENT_TYPE

Page = Callable[[Request], Awaitable[Response]]


class Greeting:
    """Answers every path that nothing else answers, with any method (as tusd).

    A path such as `//files/`, which clients make of a base URL with a slash too many, leads to the one that is meant.
    """

    def __init__(self, version: str, base_path: str, metrics_path: str | None, *, is_shown: bool) -> None:
        title = "Welcome to tusd_py"
        paths = [f"- {base_path} - send your tus uploads here"]
        if metrics_path:
            paths.append(f"- {metrics_path} - metrics for Prometheus")
        paths.append("- /health - whether uploads can be taken")
        lines = [title, "=" * len(title), "", "It works: resumable uploads are served here.", "", *paths, ""]
        lines += ["Have a good upload!", "", f"Version = {version}", "GitCommit = n/a", "BuildDate = n/a", ""]
        self._text = "\n".join(lines)
        self._is_shown = is_shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if (clean := _clean(path)) != path:
            query = scope["query_string"].decode("latin-1")
            response: Response = RedirectResponse(quote(clean) + (f"?{query}" if query else ""), 307)
        elif self._is_shown:
            response = PlainTextResponse(self._text)
        else:
            response = PlainTextResponse("404 page not found\n", 404)
        await response(scope, receive, send)


def _clean(path: str) -> str:
    """The path that is meant by one with empty segments or dots, to which Go's server redirects."""
    clean = "/" + posixpath.normpath(path).lstrip("/")
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def own_pages(
    exposition: Callable[[], Awaitable[bytes]],
    metrics_path: str | None,
    checks: Mapping[str, Callable[[], Awaitable[None]]],
    troubles: Callable[[], Mapping[str, str]],
    health_path: str | None,
) -> list[BaseRoute]:
    """The pages that have a path; see `health_page`."""
    pages = {metrics_path: metrics_page(exposition), health_path: health_page(checks, troubles)}
    return [Route(path, page, methods=["GET"]) for path, page in pages.items() if path]


def metrics_page(exposition: Callable[[], Awaitable[bytes]]) -> Page:
    async def page(_request: Request) -> Response:
        return Response(await exposition(), headers={"content-type": CONTENT_TYPE})

    return page


def health_page(checks: Mapping[str, Callable[[], Awaitable[None]]], troubles: Callable[[], Mapping[str, str]]) -> Page:
    """200 while uploads can be taken, degraded while something works less well, by part; 503 and the first part that is
    in the way when its check raises.
    """

    async def page(_request: Request) -> Response:
        for part, check in checks.items():
            try:
                await check()
            except UploadError as error:
                body = {"status": "unavailable", "part": part, "code": error.problem.code}
                return JSONResponse(body, 503, {"cache-control": "no-store"})
        parts = troubles()
        answer = {"status": "degraded", "parts": parts} if parts else {"status": "ok"}
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    return page
