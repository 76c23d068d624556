"""What an application is without the layers of Starlette's that it goes past, and with what others put round it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_py import create_app


class Noting:
    """Middleware that remembers which paths were asked for."""

    def __init__(self, app: ASGIApp, paths: list[str]) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._paths.append(scope["path"])
        await self._app(scope, receive, send)


def status_of(app: Starlette, method: str, path: str) -> int:
    """What a request without a body is answered."""
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "headers": [(b"host", b"here")],
    }

    async def ask() -> None:
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    asyncio.run(ask())
    return int(messages[0]["status"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", "/files/", 200),
        ("HEAD", "/files/unknown", 404),
        ("GET", "/api/files/unknown", 404),
        ("GET", "/metrics", 200),
        ("PUT", "/health", 405),
        ("GET", "/elsewhere", 404),
    ],
)
def test_what_is_in_no_tree_is_starlettes_to_answer(tmp_path: Path, method: str, path: str, status: int) -> None:
    assert status_of(create_app(tmp_path, metrics_path="/metrics", health_path="/health"), method, path) == status


def test_a_page_in_the_place_of_an_upload_comes_first(tmp_path: Path) -> None:
    assert status_of(create_app(tmp_path, base_path="/", metrics_path="/metrics"), "GET", "/metrics") == 200


def test_middleware_that_is_put_round_an_application_is_round_its_uploads(tmp_path: Path) -> None:
    app, paths = create_app(tmp_path), list[str]()
    app.add_middleware(Noting, paths)
    assert status_of(app, "OPTIONS", "/files/") == 200
    assert paths == ["/files/"]


def test_an_error_of_ours_is_the_servers_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tusd_py.web.route.TreeRoute.handle", fail)
    with pytest.raises(ZeroDivisionError):
        status_of(create_app(tmp_path), "OPTIONS", "/files/")
