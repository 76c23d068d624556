"""What is particular to requests to the API: origin, key, route, and errors as JSON."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import quote, unquote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.hook_events import HookRefusal, access_mode
from tusd_py.core.log_event import LogEvent
from tusd_py.core.sessions import ChunksMissing
from tusd_py.web.answering import Change, answer
from tusd_py.web.api import ApiRequest, ApiRoute, path_pattern
from tusd_py.web.body import RequestBody
from tusd_py.web.context import Context
from tusd_py.web.hook_answers import change_response
from tusd_py.web.request import RequestHeaders, content_length, identify_request

log = logging.getLogger("tusd_py")

_SHOWN_FACTS = {name: name for name in ("field", "chunk", "expected", "received", "allowed", "reason")} | {
    "file_status": "status"
}
"""The facts of an error that a client is told, and under which names."""


class ApiEndpoint:
    """The ASGI application at the API's path. No `api_keys` means none are asked for."""

    def __init__(
        self,
        routes: Sequence[ApiRoute],
        *,
        api_keys: Sequence[bytes],
        context: Context,
    ) -> None:
        self._paths = [
            (path_pattern(path), {route.method: route for route in routes if route.path == path and route.on})
            for path in dict.fromkeys(route.path for route in routes)
        ]
        self._api_keys = api_keys
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._context.on_request()
        request = self._read(scope, receive)
        identify_request(request.method, request.path, request.headers)
        await answer(request, partial(self._respond, request), self._context, scope, receive, send)

    def _read(self, scope: Scope, receive: Receive) -> ApiRequest:
        headers = RequestHeaders(scope["headers"])
        root = scope.get("root_path", "").rstrip("/")
        return ApiRequest(
            method=scope["method"],
            path="/" + scope["path_params"]["path"],
            raw_path=_raw_path(scope),
            names={},
            query=scope.get("query_string", b"").decode("latin-1"),
            origin=self._context.origin(scope, headers) + root,
            has_key=self._has_key(headers),
            needs_key=bool(self._api_keys),
            headers=headers,
            body=RequestBody(
                receive, content_length(headers), scope.get("extensions") or {}, self._context.network_timeout
            ),
        )

    async def _respond(self, request: ApiRequest, change: Change) -> Response:
        try:
            response = await self._dispatch(request)
            change(response)
        except UploadError as error:
            error.__traceback__ = None  # else it and the request keep one another, and the connection
            response = self._render(error)
        except Exception:
            log.exception(LogEvent("InternalServerError"))
            response = self._render(UploadError(errors.INTERNAL_SERVER_ERROR))
        else:
            log.info(LogEvent("ResponseOutgoing", status=response.status_code, body=""))
        response.headers["cache-control"] = "no-store"
        return response

    async def _dispatch(self, request: ApiRequest) -> Response:
        if not self._context.cors.allows(request.headers.get("origin")):
            raise UploadError(errors.ORIGIN_NOT_ALLOWED)
        routes, names = self._find(request)
        allow = {"allow": ", ".join([*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS"])}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allow)
        if not routes and not names:
            raise UploadError(errors.NOT_FOUND)
        route = routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            response = self._render(UploadError(errors.METHOD_NOT_ALLOWED))
            response.headers.update(allow)
            return response
        if route.needs_key and request.needs_key and not request.has_key:
            raise UploadError(errors.UNAUTHORIZED)
        if named := names.get("upload_id") or names.get("file_id"):
            await self._context.hooks.before_access(access_mode(route.method), (named,))
        return await route.handler(replace(request, names=names))

    def _find(self, request: ApiRequest) -> tuple[Mapping[str, ApiRoute], dict[str, str]]:
        """What there is under a path, by method, and what the path names.

        An id may hold slashes: written as `%2F`, which is looked at first, or as they are, where the path does not end
        in something that every id has.
        """
        for pattern, routes in self._paths:
            match = pattern.fullmatch(request.raw_path)
            if match and "/" not in match.groupdict().get("upload_id", ""):
                return routes, {name: unquote(text) for name, text in match.groupdict().items()}
        for pattern, routes in self._paths:
            if match := pattern.fullmatch(request.path):
                return routes, match.groupdict()
        return {}, {}

    def _has_key(self, headers: Headers) -> bool:
        """Whether the request comes with an API key (RFC 6750 2.1); all are compared, each in constant time."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip().encode("latin-1", "replace")
        matches = [hmac.compare_digest(given, known) for known in self._api_keys]
        return scheme.lower() == "bearer" and any(matches)

    def _render(self, error: UploadError) -> Response:
        # tusd's 500 says that this was our fault.
        problem = errors.BODY_TIMEOUT if error.problem is errors.READ_TIMEOUT else error.problem
        self._context.metrics.count_error(problem.status, problem.code)
        level = logging.ERROR if problem.status >= 500 else logging.INFO
        log.log(level, LogEvent("ResponseOutgoing", status=problem.status, body=problem.code, **error.evidence))
        answer: dict[str, object] = {"error": problem.message, "code": problem.code}
        answer |= {name: error.evidence[fact] for fact, name in _SHOWN_FACTS.items() if fact in error.evidence}
        if isinstance(error, ChunksMissing):
            answer["missingChunks"] = error.missing
        response = JSONResponse(answer, problem.status)
        if problem.retry_after is not None:
            response.headers["retry-after"] = str(problem.retry_after)
        if problem is errors.UNAUTHORIZED:
            response.headers["www-authenticate"] = "Bearer"
        if isinstance(error, HookRefusal):
            change_response(response, [error.response])
        return response


def _raw_path(scope: Scope) -> str:
    """What follows the API's own path, as the client wrote it; a server that does not hand it on (ASGI) loses `%2F`."""
    rest = scope["path_params"]["path"]
    raw = scope.get("raw_path")
    if raw is None:
        return "/" + quote(rest)
    own = scope["path"].removesuffix(rest).count("/")
    return "/" + "/".join(raw.decode("latin-1").partition("?")[0].split("/")[own:])
