"""The OpenAPI 3.1 description of the JSON API: the table of its operations, and the document made of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby

from tusd_py.core import errors
from tusd_py.core.errors import Problem
from tusd_py.version import __version__
from tusd_py.web.openapi_schemas import PARAMETERS, RESPONSE_HEADERS, SCHEMAS, Json, initiation

_ABOUT = """\
Uploads in numbered chunks, for scripts and services: initiate, send the chunks in any order and in parallel, complete.
Every error is a JSON object with a sentence in `error` and a word that stays in `code`. A path that is not here is
answered with 404 `ERR_NOT_FOUND`, a method that a path does not have with 405 `ERR_METHOD_NOT_ALLOWED` and `Allow`;
`HEAD` goes where `GET` does. A hook of the operator's may refuse a request, with an answer of its own."""

_ALWAYS = (errors.ORIGIN_NOT_ALLOWED, errors.INTERNAL_SERVER_ERROR, errors.STORE_UNAVAILABLE)
_BODY = (errors.UNEXPECTED_EOF, errors.BODY_TIMEOUT, errors.SERVER_SHUTDOWN, errors.DISK_FULL)
_UPLOAD = (errors.UPLOAD_NOT_FOUND, errors.UPLOAD_EXPIRED, errors.UPLOAD_LOCKED, errors.ACCESS_REJECTED)
_LINK = (
    *(errors.INVALID_QUERY, errors.FILE_NOT_FOUND, errors.FILE_NOT_READY),
    *(errors.FILE_QUARANTINED, errors.FILE_GONE),
)
"""What every operation may be answered with, those that take a body, name an upload, or give a link."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path: the names of its parameters, of the schemas of its body and answer, and what can go wrong."""

    name: str
    method: str
    path: str
    summary: str
    status: int
    answer: str | None
    problems: tuple[Problem, ...]
    parameters: tuple[str, ...] = ()
    body: str | None = None


OPERATIONS = (
    Operation(
        name="initiate",
        method="POST",
        path="/uploads/initiate",
        summary="Announce a file that will come in chunks",
        status=201,
        answer="Session",
        problems=(
            *(errors.INVALID_JSON, errors.INVALID_FIELD, errors.BODY_TOO_LARGE, errors.MAX_SIZE_EXCEEDED),
            *(errors.TYPE_NOT_ALLOWED, errors.TOO_MANY_UPLOADS, errors.UPLOAD_REJECTED, errors.UPLOAD_EXISTS),
            *(errors.DETECTION_UNAVAILABLE, *_BODY),
        ),
        body="Initiation",
    ),
    Operation(
        name="putChunk",
        method="PUT",
        path="/uploads/{uploadId}/chunks/{number}",
        summary="Send a chunk, of exactly its length; the same one again is no error",
        status=200,
        answer="Chunk",
        problems=(
            *(errors.INVALID_CHUNK_NUMBER, errors.INVALID_CHUNK_CHECKSUM, errors.INVALID_CHUNK_LENGTH),
            *(errors.LENGTH_REQUIRED, errors.CHUNK_TOO_LARGE, errors.CHUNK_CHECKSUM_MISMATCH, errors.CHUNK_EXISTS),
            *(errors.UPLOAD_INTERRUPTED, errors.UPLOAD_COMPLETE, errors.UPLOAD_FAILED, errors.NOT_CHUNKED),
            *(*_UPLOAD, *_BODY),
        ),
        parameters=("uploadId", "number", "X-Chunk-Checksum"),
        body="Bytes",
    ),
    Operation(
        name="status",
        method="GET",
        path="/uploads/{uploadId}/status",
        summary="How far an upload is, in chunks or by tus",
        status=200,
        answer="Progress",
        problems=(*_UPLOAD, errors.FILE_NOT_FOUND),
        parameters=("uploadId",),
    ),
    Operation(
        name="complete",
        method="POST",
        path="/uploads/{uploadId}/complete",
        summary="Verify the whole file and keep it; said again, the answer is the same",
        status=200,
        answer="CompletedFile",
        problems=(
            *(errors.CHUNKS_MISSING, errors.FILE_CHECKSUM_MISMATCH, errors.NOT_CHUNKED, errors.UPLOAD_EXISTS),
            *(*_UPLOAD, errors.FILE_NOT_READY, errors.FILE_NOT_FOUND, errors.SERVER_SHUTDOWN, errors.DISK_FULL),
        ),
        parameters=("uploadId",),
    ),
    Operation(
        name="linkToUpload",
        method="GET",
        path="/uploads/{uploadId}/download",
        summary="A signed link to the file that an upload has become",
        status=200,
        answer="Link",
        problems=(*_UPLOAD, *_LINK),
        parameters=("uploadId", "ttl"),
    ),
    Operation(
        name="terminate",
        method="DELETE",
        path="/uploads/{uploadId}",
        summary="Remove an upload in any state, with the file that it has become",
        status=204,
        answer=None,
        problems=(*_UPLOAD, errors.TERMINATION_REJECTED),
        parameters=("uploadId",),
    ),
    Operation(
        name="file",
        method="GET",
        path="/files/{fileId}",
        summary="What is known about a file; with a wait, when it is settled or the time is over",
        status=200,
        answer="File",
        problems=(errors.INVALID_QUERY, errors.FILE_NOT_FOUND, errors.ACCESS_REJECTED),
        parameters=("fileId", "wait"),
    ),
    Operation(
        name="events",
        method="GET",
        path="/files/{fileId}/events",
        summary="The same now and at every change of its status, until it is settled",
        status=200,
        answer="Events",
        problems=(errors.FILE_NOT_FOUND, errors.ACCESS_REJECTED),
        parameters=("fileId",),
    ),
    Operation(
        name="linkToFile",
        method="GET",
        path="/files/{fileId}/download",
        summary="A signed link to a file",
        status=200,
        answer="Link",
        problems=(*_LINK, errors.ACCESS_REJECTED),
        parameters=("fileId", "ttl"),
    ),
    Operation(
        name="describe",
        method="GET",
        path="/openapi.json",
        summary="This description",
        status=200,
        answer="Description",
        problems=(),
    ),
)

_FOLLOWED_BY = {
    "initiate": ("uploadId", ("putChunk", "status", "complete", "linkToUpload", "terminate")),
    "complete": ("fileId", ("file", "events", "linkToFile")),
}
"""The field of an answer that is a parameter of other operations, and those."""

_OTHER_THAN_JSON: dict[str, Json] = {
    "Bytes": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "hello"}},
    "Events": {"text/event-stream": {"schema": {"type": "string"}}},
}


def openapi_document(
    server: str,
    *,
    max_size: int,
    allowed_types: Collection[str],
    with_key: Collection[str],
    left_out: Collection[str],
) -> Json:
    """The description, for the API at this URL.

    `max_size` is in bytes, 0 for no limit, and no `allowed_types` means all. `with_key` and `left_out` are names of
    operations: those that ask for an API key, and those that this server does not have.
    """
    operations = [operation for operation in OPERATIONS if operation.name not in left_out]
    paths: dict[str, Json] = {}
    for operation in operations:
        described = _described(operation, operations, has_key=operation.name in with_key)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "tusd_py", "version": __version__, "description": _ABOUT},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": {"Initiation": initiation(max_size, allowed_types), **SCHEMAS},
            "parameters": PARAMETERS,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation, operations: Iterable[Operation], *, has_key: bool) -> Json:
    success: Json = {"description": operation.summary}
    if operation.answer is not None:
        success["content"] = _content(operation.answer)
    if links := _links(operation, operations):
        success["links"] = links
    problems = {*_ALWAYS, *operation.problems, *((errors.UNAUTHORIZED,) if has_key else ())}
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(operation.status): success, **_failures(problems)},
        "security": [{"apiKey": []}] if has_key else [],
    }
    if operation.parameters:
        described["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _links(operation: Operation, operations: Iterable[Operation]) -> Json:
    """What may be asked with what this one answers."""
    field, names = _FOLLOWED_BY.get(operation.name, ("", ()))
    link = {"parameters": {field: f"$response.body#/{field}"}}
    return {each.name: {"operationId": each.name, **link} for each in operations if each.name in names}


def _failures(problems: Iterable[Problem]) -> Json:
    """One response for each status, with the codes that come with it."""
    by_status = groupby(sorted(problems, key=lambda each: (each.status, each.code)), key=lambda each: each.status)
    return {str(status): _failure(status, list(group)) for status, group in by_status}


def _failure(status: int, problems: list[Problem]) -> Json:
    codes = {"properties": {"code": {"enum": [problem.code for problem in problems]}}}
    failure: Json = {
        "description": "\n".join(f"- `{problem.code}`: {problem.message}" for problem in problems),
        "content": _json({"allOf": [{"$ref": "#/components/schemas/Error"}, codes]}),
    }
    if status in RESPONSE_HEADERS:
        failure["headers"] = RESPONSE_HEADERS[status]
    return failure


def _content(name: str) -> Json:
    return _OTHER_THAN_JSON.get(name) or _json({"$ref": f"#/components/schemas/{name}"})


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
