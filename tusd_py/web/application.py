"""The application that `create_app` makes: Starlette's, with a shorter way to the trees of resources."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from tusd_py.web.route import TreeRoute


class Application(Starlette):
    """Starlette, but for the layers that make answers of exceptions, and wrap every message of every request for that.

    What is in our trees answers its own errors, and does without. It goes Starlette's way like everything else where
    somebody has put middleware, or handlers of exceptions, round the application.
    """

    def build_middleware_stack(self) -> ASGIApp:
        whole = super().build_middleware_stack()
        if self.user_middleware or self.exception_handlers:
            return whole

        async def shortened(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                for route in self.router.routes:
                    match, found = route.matches(scope)
                    if match is not Match.NONE:
                        if isinstance(route, TreeRoute):
                            scope.update(found)
                            return await route.handle(scope, receive, send)
                        break
            return await whole(scope, receive, send)

        return shortened
