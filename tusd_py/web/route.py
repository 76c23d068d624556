"""The place of a tree of resources among the routes of an application."""

from __future__ import annotations

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send


class TreeRoute(BaseRoute):
    """The base path, with and without its last slash, and everything below it.

    Starlette's own paths are regular expressions that stop at a newline, which an id in a URL may hold.
    """

    def __init__(self, base_path: str, endpoint: ASGIApp) -> None:
        self._base_path = base_path
        self._endpoint = endpoint

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        if scope["type"] != "http" or not (path + "/" == self._base_path or path.startswith(self._base_path)):
            return Match.NONE, {}
        return Match.FULL, {"path_params": {"path": path[len(self._base_path) :]}}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(scope, receive, send)
