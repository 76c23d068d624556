"""What a server of its own offers beside uploads: greeting, metrics, health. A mounted application has none of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.service.metrics import CONTENT_TYPE


class Greeting:
    """Answers every path that nothing else answers, with any method (as tusd)."""

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
        response = PlainTextResponse(self._text) if self._is_shown else PlainTextResponse("404 page not found\n", 404)
        await response(scope, receive, send)


def metrics_page(exposition: Callable[[], Awaitable[bytes]]) -> Callable[[Request], Awaitable[Response]]:
    async def page(_request: Request) -> Response:
        return Response(await exposition(), headers={"content-type": CONTENT_TYPE})

    return page


def health_page(
    check: Callable[[], Awaitable[None]], troubles: Callable[[], Mapping[str, str]]
) -> Callable[[Request], Awaitable[Response]]:
    """200 while uploads can be taken, degraded while finished files have to wait; 503 and the part that is in the way
    when `check` raises.
    """

    async def page(_request: Request) -> Response:
        try:
            await check()
        except UploadError as error:
            part = "state" if error.problem is errors.STATE_UNAVAILABLE else "store"
            body = {"status": "unavailable", "part": part, "code": error.problem.code}
            return JSONResponse(body, 503, {"cache-control": "no-store"})
        parts = troubles()
        answer = {"status": "degraded", "parts": parts} if parts else {"status": "ok"}
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    return page
