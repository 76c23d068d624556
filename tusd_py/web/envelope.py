"""What every request below the base path goes through: identity, origin, version, dispatch, errors, and a readable
end.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tusd_py.core import errors
from tusd_py.core.body import TRAILERS
from tusd_py.core.errors import UploadError
from tusd_py.core.headers import TUS_VERSION
from tusd_py.core.log_event import LogEvent, request_attributes
from tusd_py.service.metrics import Metrics
from tusd_py.web.body import RequestBody
from tusd_py.web.cors import Cors
from tusd_py.web.location import origin_of
from tusd_py.web.request import TusRequest
from tusd_py.web.tus import TusHandlers

log = logging.getLogger("tusd_py")

LINGER_TURNS = 30
LINGER_TURN = 1.0
"""A client may go on sending after an early answer for so many turns of so many seconds; one without a byte ends it."""

WRITE_TIMEOUTS = 2
"""Network time-outs after which a client that takes nothing of its answer is dropped (as tusd)."""

_LONGEST_REQUEST_ID = 36
_CONTENT_LENGTH = re.compile(r"[0-9]+")

Handler = Callable[[TusRequest], Awaitable[Response]]


class TusEndpoint:
    """The ASGI application at the base path.

    `on_request` is awaited first; `creation` and `upload` map methods to handlers.
    """

    def __init__(
        self,
        handlers: TusHandlers,
        creation: Mapping[str, Handler],
        upload: Mapping[str, Handler],
        *,
        base_path: str,
        cors: Cors,
        metrics: Metrics,
        behind_proxy: bool,
        network_timeout: float,
        on_request: Callable[[], Awaitable[None]],
        is_draining: Callable[[], bool],
    ) -> None:
        self._handlers = handlers
        self._creation = creation
        self._upload = upload
        self._base_path = base_path
        self._cors = cors
        self._metrics = metrics
        self._behind_proxy = behind_proxy
        self._network_timeout = network_timeout
        self._on_request = on_request
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._on_request()
        request = self._read(scope, receive)
        request_id = request.headers.get("x-request-id", "")[:_LONGEST_REQUEST_ID] or secrets.token_hex(8)
        request_attributes.set(
            (("method", request.sent_method), ("path", request.upload_id), ("requestId", request_id))
        )
        log.info(LogEvent("RequestIncoming"))
        self._metrics.count_request(request.method)
        try:
            response = await self._respond(request, scope)
            self._add_common_headers(response, request)
            sending = _Sending(request.body, send, self._is_draining, WRITE_TIMEOUTS * self._network_timeout)
            await sending.send(response, scope, receive)
        finally:
            await request.body.close()

    def _read(self, scope: Scope, receive: Receive) -> TusRequest:
        headers = Headers(raw=[(name, value.strip(b" \t")) for name, value in scope["headers"]])
        method = scope["method"]
        if method != "OPTIONS":
            method = headers.get("x-http-method-override") or method  # tus core: the real method is ignored then
        extensions: dict[str, Any] = scope.get("extensions") or {}
        return TusRequest(
            method=method,
            sent_method=scope["method"],
            upload_id=scope["path_params"].get("id", "").strip("/"),
            base_url=origin_of(scope, headers, behind_proxy=self._behind_proxy)
            + scope.get("root_path", "").rstrip("/")
            + self._base_path,
            headers=headers,
            body=RequestBody(receive, _content_length(headers), extensions, self._network_timeout),
        )

    async def _respond(self, request: TusRequest, scope: Scope) -> Response:
        try:
            response = await self._dispatch(request, scope)
        except UploadError as error:
            response = self._render(error, request)
        except Exception:
            log.exception(LogEvent("InternalServerError", id=request.upload_id))
            response = self._render(UploadError(errors.INTERNAL_SERVER_ERROR), request)
        else:
            if response.status_code != 405:
                log.info(LogEvent("ResponseOutgoing", id=request.upload_id, status=response.status_code, body=""))
        return response

    async def _dispatch(self, request: TusRequest, scope: Scope) -> Response:
        if not self._cors.allows(request.headers.get("origin")):
            raise UploadError(errors.ORIGIN_NOT_ALLOWED)
        if request.method == "OPTIONS":
            has_trailers = TRAILERS in (scope.get("extensions") or {})
            return Response(headers=self._handlers.discover(can_deliver_trailers=has_trailers))
        if not _has_right_version(request):
            raise UploadError(errors.UNSUPPORTED_VERSION)
        handlers = self._upload if request.upload_id else self._creation
        handler = handlers.get(request.method)
        if handler is None:
            allow = (
                "GET, HEAD, PATCH, DELETE" if request.upload_id else "POST"
            )  # fixed, whatever is switched off (tusd)
            return PlainTextResponse("method not allowed", 405, {"allow": allow})
        return await handler(request)

    def _render(self, error: UploadError, request: TusRequest) -> Response:
        problem = error.problem
        if problem.status == 503 and request.method == "HEAD":
            # tus-js-client starts again from zero after any failed HEAD but a 423.
            problem = errors.UPLOAD_LOCKED
        self._metrics.count_error(problem.status, problem.code)
        level = logging.ERROR if problem.status >= 500 else logging.INFO
        log.log(
            level,
            LogEvent(
                "ResponseOutgoing", id=request.upload_id, status=problem.status, body=problem.code, **error.evidence
            ),
        )
        text = "" if request.sent_method == "HEAD" else f"{problem.code}: {problem.message}\n"
        response = PlainTextResponse(text, problem.status)
        if request.sent_method == "HEAD":
            del response.headers["content-length"]
        if problem is errors.UNSUPPORTED_VERSION:
            response.headers["tus-version"] = TUS_VERSION
        if problem is errors.MISMATCHED_OFFSET:
            response.headers["upload-offset"] = str(error.evidence["expected"])
        if problem.retry_after is not None:
            response.headers["retry-after"] = str(problem.retry_after)
        return response

    def _add_common_headers(self, response: Response, request: TusRequest) -> None:
        headers = MutableHeaders(raw=response.raw_headers)
        headers["tus-resumable"] = TUS_VERSION
        headers["x-content-type-options"] = "nosniff"
        if request.method == "HEAD":
            headers["cache-control"] = "no-store"
        origin = request.headers.get("origin")
        if self._cors.allows(origin):
            headers.update(self._cors.headers(origin, is_preflight=request.method == "OPTIONS"))


class _Sending:
    """One response on its way, to a client that may still be sending its request.

    Closing a connection on which unread bytes arrive would destroy the answer on its way, so they are read and dropped
    for a while first. It is closed also where the client waited for a `100 Continue` that never came: it may or may not
    send the body now (RFC 9110 10.1.1).
    """

    def __init__(self, body: RequestBody, send: Send, is_draining: Callable[[], bool], write_timeout: float) -> None:
        self._body = body
        self._unlimited_send = send
        self._write_timeout = write_timeout
        self._is_draining = is_draining
        self._must_close = False

    async def send(self, response: ASGIApp, scope: Scope, receive: Receive) -> None:
        expects_continue = any(name == b"expect" for name, _ in scope["headers"])
        awaits_continue = expects_continue and not self._body.was_asked_for
        self._must_close = self._body.is_unread and (awaits_continue or not self._body.can_be_skipped)
        try:
            await response(scope, receive, self._pass_on)
        except TimeoutError:
            log.info(LogEvent("NetworkTimeoutError", error="the client does not read its answer"))

    async def _send(self, message: Message) -> None:
        async with asyncio.timeout(self._write_timeout):
            await self._unlimited_send(message)

    async def _pass_on(self, message: Message) -> None:
        if not self._must_close:
            await self._send(message)
        elif message["type"] == "http.response.start":
            headers = [*message.get("headers", []), (b"connection", b"close")]
            await self._send({**message, "headers": headers})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            for _ in range(LINGER_TURNS):
                if self._is_draining() or not await self._body.discard(LINGER_TURN):
                    break
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _has_right_version(request: TusRequest) -> bool:
    """tus core, Tus-Resumable. As tusd, HEAD may come without it; GET is not tus."""
    versions = request.headers.getlist("tus-resumable")
    return request.method == "GET" or versions == [TUS_VERSION] or (request.method == "HEAD" and not versions)


def _content_length(headers: Headers) -> int | None:
    """The announced length of the body; None where it is not known before its end, 0 for no body (RFC 9112 6.3)."""
    if "transfer-encoding" in headers:
        return None
    text = headers.get("content-length", "0")
    return int(text) if _CONTENT_LENGTH.fullmatch(text) else None
