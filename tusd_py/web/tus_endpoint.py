"""What is particular to requests below the base path: origin, version, dispatch, and errors as tusd words them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tusd_py.core import errors
from tusd_py.core.body import TRAILERS
from tusd_py.core.errors import Evidence, UploadError
from tusd_py.core.headers import TUS_VERSION
from tusd_py.core.hook_events import HookRefusal, access_mode
from tusd_py.core.ids import split_file_path
from tusd_py.core.log_event import LogEvent
from tusd_py.web.answering import Change, answer
from tusd_py.web.body import RequestBody
from tusd_py.web.context import Context
from tusd_py.web.hook_answers import change_response
from tusd_py.web.request import RequestHeaders, TusRequest, content_length, identify_request
from tusd_py.web.tus import TusHandlers

log = logging.getLogger("tusd_py")


Handler = Callable[[TusRequest], Awaitable[Response]]


class TusEndpoint:
    """The ASGI application at the base path; `creation`, `upload` and `file` map methods to handlers."""

    def __init__(
        self,
        handlers: TusHandlers,
        creation: Mapping[str, Handler],
        upload: Mapping[str, Handler],
        file: Mapping[str, Handler],
        *,
        base_path: str,
        context: Context,
    ) -> None:
        self._handlers = handlers
        self._creation = creation
        self._upload = upload
        self._file = file
        self._base_path = base_path
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._context.on_request()
        request = self._read(scope, receive)
        identify_request(request.sent_method, request.upload_id, request.headers)
        await answer(request, partial(self._respond, request, scope), self._context, scope, receive, send)

    def _read(self, scope: Scope, receive: Receive) -> TusRequest:
        headers = RequestHeaders(scope["headers"])
        method = scope["method"]
        if method != "OPTIONS":
            method = headers.get("x-http-method-override") or method  # tus core: the real method is ignored then
        extensions: dict[str, Any] = scope.get("extensions") or {}
        return TusRequest(
            method=method,
            sent_method=scope["method"],
            upload_id=scope["path_params"]["path"].strip("/"),
            query=scope.get("query_string", b"").decode("latin-1"),
            base_url=("" if self._context.relative_location else self._context.origin(scope, headers))
            + scope.get("root_path", "").rstrip("/")
            + self._base_path,
            headers=headers,
            body=RequestBody(receive, content_length(headers), extensions, self._context.network_timeout),
        )

    async def _respond(self, request: TusRequest, scope: Scope, change: Change) -> Response:
        try:
            response = await self._dispatch(request, scope)
            change(response)
        except UploadError as error:
            if error.problem.code == errors.INTERNAL_SERVER_ERROR.code:  # of a hook, say
                about: dict[str, Evidence] = {"message": error.problem.message, **error.evidence}
                log.error(LogEvent("InternalServerError", id=request.upload_id, **about))  # noqa: TRY400 -- no surprise
            error.__traceback__ = None  # else it and the request keep one another, and the connection
            response = self._render(error, request)
        except Exception as error:
            log.exception(  # one line with tusd's attribute, and then where it comes from
                LogEvent("InternalServerError", id=request.upload_id, message=str(error))  # noqa: TRY401
            )
            response = self._render(UploadError(errors.INTERNAL_SERVER_ERROR), request)
        else:
            if response.status_code != 405:
                _log_response(response, request)
        response.headers["tus-resumable"] = TUS_VERSION
        if request.method == "HEAD":
            response.headers["cache-control"] = "no-store"
        return response

    async def _dispatch(self, request: TusRequest, scope: Scope) -> Response:
        if not self._context.cors.allows(request.headers.get("origin")):
            raise UploadError(errors.ORIGIN_NOT_ALLOWED)
        if request.method == "OPTIONS":
            has_trailers = TRAILERS in (scope.get("extensions") or {})
            return Response(headers=self._handlers.discover(can_deliver_trailers=has_trailers))
        if not _has_right_version(request):
            raise UploadError(errors.UNSUPPORTED_VERSION)
        handler = self._handlers_of(request).get(request.method)
        if handler is None:
            allow = (
                "GET, HEAD, PATCH, DELETE" if request.upload_id else "POST"
            )  # fixed, whatever is switched off (tusd)
            return PlainTextResponse("method not allowed", 405, {"allow": allow})
        if request.upload_id:
            await self._context.hooks.before_access(access_mode(request.method), (request.upload_id,))
        return await handler(request)

    def _handlers_of(self, request: TusRequest) -> Mapping[str, Handler]:
        if not request.upload_id:
            return self._creation
        return self._file if split_file_path(request.upload_id)[0] else self._upload

    def _render(self, error: UploadError, request: TusRequest) -> Response:
        problem = error.problem
        if problem.status in (503, 507) and request.method == "HEAD":
            # tus-js-client starts again from zero after any failed HEAD but a 423.
            problem = errors.UPLOAD_LOCKED
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
        if isinstance(error, HookRefusal):
            change_response(response, [error.response])
        self._context.metrics.count_error(response.status_code, problem.code)
        _log_response(response, request, **error.evidence)
        return response


def _log_response(response: Response, request: TusRequest, **evidence: Evidence) -> None:
    """The answer as tusd logs it; a body that goes out in pieces is not shown."""
    tell = log.error if response.status_code >= 500 else log.info
    body = bytes(getattr(response, "body", b"")).decode("utf-8", "replace")
    tell(LogEvent("ResponseOutgoing", id=request.upload_id, status=response.status_code, body=body, **evidence))


def _has_right_version(request: TusRequest) -> bool:
    """tus core, Tus-Resumable. As tusd, HEAD may come without it; GET is not tus."""
    versions = request.headers.getlist("tus-resumable")
    return request.method == "GET" or versions == [TUS_VERSION] or (request.method == "HEAD" and not versions)
