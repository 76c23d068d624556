"""What every request goes through, to whichever endpoint: it is counted and shown to hooks, and answered to its end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tusd_py.core.hook_events import Exchange, current_exchange
from tusd_py.core.log_event import LogEvent
from tusd_py.web.body import RequestBody
from tusd_py.web.context import Context
from tusd_py.web.hook_answers import change_response, hook_request
from tusd_py.web.sending import Sending

log = logging.getLogger("tusd_py")


class Request(Protocol):
    """What the requests to all endpoints have."""

    @property
    def method(self) -> str: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def body(self) -> RequestBody: ...


Change = Callable[[Response], None]
"""Lets hooks have their way with a response that is no error; see `change_response`."""

Respond = Callable[[Change], Awaitable[Response]]
"""Makes the response to a request, whatever happens."""


async def answer(
    request: Request, respond: Respond, context: Context, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request that the log knows by now. Its body is closed then, however this ends."""
    exchange = None
    if context.hooks.is_on:
        exchange = Exchange(hook_request(scope, request.headers))
        current_exchange.set(exchange)
    log.info(LogEvent("RequestIncoming"))
    context.metrics.count_request(request.method)

    def change(response: Response) -> None:
        if exchange is not None:
            change_response(response, exchange.changes)

    try:
        response = await respond(change)
        headers = MutableHeaders(raw=response.raw_headers)
        headers["x-content-type-options"] = "nosniff"
        origin = request.headers.get("origin")
        if context.cors.allows(origin):
            headers.update(context.cors.headers(origin, is_preflight=request.method == "OPTIONS"))
        sending = Sending(request.body, send, context.is_draining, context.network_timeout)
        await sending.send(response, scope, receive)
    finally:
        await request.body.close()
