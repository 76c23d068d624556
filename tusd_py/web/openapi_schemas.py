"""What the JSON API takes and gives, as JSON Schema: the parameters, bodies and answers of its OpenAPI description."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from tusd_py.core.chunks import CHUNK_UNIT, LARGEST_CHUNK_NUMBER, LONGEST_TEXT
from tusd_py.core.headers import LARGEST
from tusd_py.core.links import LONGEST_LIFETIME
from tusd_py.core.records import OWNER, Status

Json = dict[str, Any]


def _object(optional: Mapping[str, Json] | None = None, **fields: Json) -> Json:
    """An object that always has these fields, and may have the `optional` ones."""
    return {"type": "object", "properties": fields | dict(optional or {}), "required": list(fields)}


def _text(description: str, **more: Any) -> Json:
    return {"type": "string", "description": description, **more}


def _integer(description: str, minimum: int = 0, maximum: int = LARGEST, **more: Any) -> Json:
    return {"type": "integer", "description": description, "minimum": minimum, "maximum": maximum, **more}


def _numbers(description: str) -> Json:
    return {"type": "array", "description": description, "items": {"type": "integer", "minimum": 0}}


def _or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


_SHORT = {"minLength": 1, "maxLength": LONGEST_TEXT}
_UPLOAD_ID = _text("the right to write, complete and remove the upload", minLength=1, maxLength=1024)
_FILE_ID = _text("names the file", pattern="^f_[0-9a-f]{32}$")
_SHA256 = _text("SHA-256 in hexadecimal", pattern="^[0-9a-fA-F]{64}$")
_STATUS = {"type": "string", "enum": [status.value for status in Status]}
_TIME = {"type": "string", "format": "date-time"}

_HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
"""The digest of `hello`, the file of the examples."""


def initiation(max_size: int, allowed_types: Collection[str]) -> Json:
    """What announces a file, on a server with these limits (0 and none: no limit)."""
    content_type = _text("the media type; capitals and parameters do not count", **_SHORT)
    if allowed_types:
        content_type["pattern"] = f"^({'|'.join(map(_escaped, sorted(allowed_types)))})( *;.*)?$"
    return _object(
        {"ownerId": _or_null(_text(f"whose the file is; {OWNER} if nobody says", **_SHORT))},
        fileName=_text("any name: it is kept, and is no path", **_SHORT),
        fileSize=_integer("bytes", maximum=max_size or LARGEST),
        contentType=content_type,
        checksum=_SHA256 | {"description": "SHA-256 of the whole file, in hexadecimal"},
    ) | {"examples": [{"fileName": "a.txt", "fileSize": 5, "contentType": "text/plain", "checksum": _HELLO}]}


def _escaped(text: str) -> str:
    """Python's own escapes more than ECMAScript lets it."""
    return re.sub(r"[\\^$.*+?()[\]{}|]", r"\\\g<0>", text)


SCHEMAS: Mapping[str, Json] = {
    "Session": _object(
        uploadId=_UPLOAD_ID,
        totalChunks=_integer("how many chunks to send, numbered from 0"),
        chunkSize=_integer("bytes of every chunk; the last has the rest", CHUNK_UNIT, multipleOf=CHUNK_UNIT),
        status={"const": Status.UPLOADING.value},
    ),
    "Chunk": _object(status={"const": "chunk_received"}, chunkNum=_integer("the chunk that counts now")),
    "Progress": _object(
        {"fileId": _FILE_ID},
        uploadId=_UPLOAD_ID,
        status=_STATUS,
        ownerId=_text("whose the file is"),
        uploadedChunks=_numbers("the chunks that count"),
        missingChunks=_numbers("the chunks that are still to be sent"),
        totalChunks=_integer("the number of chunks; 0 for an upload that came by tus"),
    ),
    "CompletedFile": _object(
        fileId=_FILE_ID,
        status=_STATUS,
        fileName=_text("as it was announced"),
        fileSize=_integer("bytes"),
        checksum=_or_null(_SHA256),
    ),
    "File": _object(
        id=_FILE_ID,
        fileName=_text("as it was announced"),
        fileSize=_integer("bytes"),
        contentType=_text("what the client says that it is"),
        detectedType=_or_null(_text("what the bytes show that it is")),
        checksum=_or_null(_SHA256),
        ownerId=_text("whose it is"),
        status=_STATUS,
        scanResult=_or_null(_text("what the virus scanner says")),
        thumbnails={"type": "array", "items": {"$ref": "#/components/schemas/Thumbnail"}},
        createdAt=_TIME,
        completedAt=_TIME,
    ),
    "Thumbnail": _object(
        size=_text("its name in links"),
        width=_integer("pixels", 1),
        height=_integer("pixels", 1),
        type=_text("media type"),
    ),
    "Link": _object(
        {"thumbnailUrls": {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}}},
        downloadUrl=_text("gives the bytes to whoever has it", format="uri"),
        expires=_integer("until when it does, in Unix seconds"),
    ),
    "Description": _object(openapi={"type": "string"}, info={"type": "object"}, paths={"type": "object"}),
    "Error": _object(
        {
            "missingChunks": _numbers("with ERR_CHUNKS_MISSING"),
            "field": _text("the field that is wrong"),
            "status": _STATUS | {"description": "what the file is instead of ready"},
            "reason": _text("why, in a word"),
            "chunk": _integer("the number of the chunk"),
            "expected": _integer("bytes"),
            "received": _integer("bytes"),
            "allowed": _integer("bytes"),
        },
        error=_text("a sentence for people"),
        code=_text("a word for programs, which stays", pattern="^ERR_[A-Z_]+$"),
    ),
}


def _parameter(place: str, name: str, schema: Json, **more: Any) -> Json:
    return {"in": place, "name": name, "required": place != "query", "schema": schema, **more}


PARAMETERS: Mapping[str, Json] = {
    "uploadId": _parameter("path", "uploadId", _UPLOAD_ID),
    "fileId": _parameter("path", "fileId", _FILE_ID),
    "number": _parameter("path", "number", _integer("counted from 0", maximum=LARGEST_CHUNK_NUMBER), example=0),
    "X-Chunk-Checksum": _parameter("header", "X-Chunk-Checksum", _SHA256, example=_HELLO),
    "wait": _parameter("query", "wait", _integer("seconds to wait until the file is settled", maximum=9999)),
    "ttl": _parameter("query", "ttl", _integer("seconds that the link is to live", 1, LONGEST_LIFETIME)),
}

RESPONSE_HEADERS: Mapping[int, Json] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    423: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
}
"""The headers that come with a status."""
