"""Every error a client can meet: one table of stable codes, statuses and messages.

The codes, statuses and messages of tusd 2.10 are kept to the letter, since clients match on them; what tusd has no
word for follows at the end.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of error; `retry_after` is in seconds and stands for trouble that passes by itself."""

    code: str
    status: int
    message: str
    retry_after: int | None = None


UNSUPPORTED_VERSION = Problem("ERR_UNSUPPORTED_VERSION", 412, "missing, invalid or unsupported Tus-Resumable header")
MAX_SIZE_EXCEEDED = Problem("ERR_MAX_SIZE_EXCEEDED", 413, "maximum size exceeded")
INVALID_CONTENT_TYPE = Problem("ERR_INVALID_CONTENT_TYPE", 415, "missing or invalid Content-Type header")
INVALID_UPLOAD_LENGTH = Problem("ERR_INVALID_UPLOAD_LENGTH", 400, "missing or invalid Upload-Length header")
INVALID_OFFSET = Problem("ERR_INVALID_OFFSET", 400, "missing or invalid Upload-Offset header")
UPLOAD_NOT_FOUND = Problem("ERR_UPLOAD_NOT_FOUND", 404, "upload not found")
UPLOAD_LOCKED = Problem("ERR_UPLOAD_LOCKED", 423, "file currently locked", retry_after=1)
MISMATCHED_OFFSET = Problem("ERR_MISMATCHED_OFFSET", 409, "mismatched offset")
UPLOAD_SIZE_EXCEEDED = Problem("ERR_UPLOAD_SIZE_EXCEEDED", 413, "upload's size exceeded")
UPLOAD_NOT_FINISHED = Problem("ERR_UPLOAD_NOT_FINISHED", 400, "one of the partial uploads is not finished")
INVALID_CONCAT = Problem("ERR_INVALID_CONCAT", 400, "invalid Upload-Concat header")
CONCATENATION_UNSUPPORTED = Problem(
    "ERR_CONCATENATION_UNSUPPORTED", 400, "Upload-Concat header is not supported by server"
)
MODIFY_FINAL = Problem("ERR_MODIFY_FINAL", 403, "modifying a final upload is not allowed")
AMBIGUOUS_UPLOAD_LENGTH = Problem(
    "ERR_AMBIGUOUS_UPLOAD_LENGTH", 400, "provided both Upload-Length and Upload-Defer-Length"
)
INVALID_UPLOAD_LENGTH_DEFER = Problem("ERR_INVALID_UPLOAD_LENGTH_DEFER", 400, "invalid Upload-Defer-Length header")
UPLOAD_INTERRUPTED = Problem(
    "ERR_UPLOAD_INTERRUPTED", 400, "upload has been interrupted by another request for this upload resource"
)
SERVER_SHUTDOWN = Problem(
    "ERR_SERVER_SHUTDOWN", 503, "request has been interrupted because the server is shutting down", retry_after=1
)
ORIGIN_NOT_ALLOWED = Problem("ERR_ORIGIN_NOT_ALLOWED", 403, "request origin is not allowed")
UNEXPECTED_EOF = Problem("ERR_UNEXPECTED_EOF", 400, "server expected to receive more bytes")
READ_TIMEOUT = Problem("ERR_READ_TIMEOUT", 500, "timeout while reading request body")
CONNECTION_RESET = Problem("ERR_CONNECTION_RESET", 500, "TCP connection reset by peer")
INTERNAL_SERVER_ERROR = Problem("ERR_INTERNAL_SERVER_ERROR", 500, "internal server error")

UPLOAD_REJECTED = Problem("ERR_UPLOAD_REJECTED", 400, "upload creation has been rejected by server")
TERMINATION_REJECTED = Problem("ERR_UPLOAD_TERMINATION_REJECTED", 400, "upload termination has been rejected by server")
UPLOAD_STOPPED = Problem("ERR_UPLOAD_STOPPED", 400, "upload has been stopped by server")

# Ours: tusd has no such answer.
ACCESS_REJECTED = Problem("ERR_ACCESS_REJECTED", 403, "access has been rejected by server")
UPLOAD_EXISTS = Problem("ERR_UPLOAD_EXISTS", 400, "an upload with this id exists already")
UPLOAD_EXPIRED = Problem("ERR_UPLOAD_EXPIRED", 410, "upload has expired")
INVALID_METADATA = Problem("ERR_INVALID_METADATA", 400, "invalid Upload-Metadata header")
INVALID_CHECKSUM = Problem("ERR_INVALID_CHECKSUM", 400, "missing or invalid Upload-Checksum")
UNSUPPORTED_CHECKSUM = Problem("ERR_UNSUPPORTED_CHECKSUM_ALGORITHM", 400, "checksum algorithm is not supported")
CHECKSUM_MISMATCH = Problem("ERR_CHECKSUM_MISMATCH", 460, "the body does not have the announced checksum")
DISK_FULL = Problem("ERR_DISK_FULL", 507, "not enough space left to store the upload")
TOO_MANY_UPLOADS = Problem("ERR_TOO_MANY_UPLOADS", 503, "too many unfinished uploads", retry_after=60)
STORE_UNAVAILABLE = Problem(
    "ERR_STORE_UNAVAILABLE", 503, "the upload directory cannot be used at the moment", retry_after=5
)
STATE_UNAVAILABLE = Problem(
    "ERR_STATE_UNAVAILABLE", 503, "the server cannot coordinate uploads with others at the moment", retry_after=1
)

# The chunk-number mode and file records.
NOT_FOUND = Problem("ERR_NOT_FOUND", 404, "there is nothing under this path")
METHOD_NOT_ALLOWED = Problem("ERR_METHOD_NOT_ALLOWED", 405, "this resource does not have the method")
UNAUTHORIZED = Problem("ERR_UNAUTHORIZED", 401, "missing or unknown API key")
INVALID_JSON = Problem("ERR_INVALID_JSON", 400, "the body is not a JSON object")
INVALID_FIELD = Problem("ERR_INVALID_FIELD", 400, "a field is missing or has the wrong type or value")
BODY_TOO_LARGE = Problem("ERR_BODY_TOO_LARGE", 413, "the JSON body is too large")
BODY_TIMEOUT = Problem("ERR_BODY_TIMEOUT", 408, "the rest of the body did not come in time")
TYPE_NOT_ALLOWED = Problem("ERR_TYPE_NOT_ALLOWED", 415, "files of this type are not accepted")
LENGTH_REQUIRED = Problem("ERR_LENGTH_REQUIRED", 411, "a chunk needs a Content-Length")
INVALID_CHUNK_NUMBER = Problem("ERR_INVALID_CHUNK_NUMBER", 400, "the file has no chunk of this number")
INVALID_CHUNK_LENGTH = Problem("ERR_INVALID_CHUNK_LENGTH", 400, "the body is shorter than the chunk")
CHUNK_TOO_LARGE = Problem("ERR_CHUNK_TOO_LARGE", 413, "the body is longer than the chunk")
INVALID_CHUNK_CHECKSUM = Problem("ERR_INVALID_CHUNK_CHECKSUM", 400, "missing or invalid X-Chunk-Checksum header")
CHUNK_CHECKSUM_MISMATCH = Problem("ERR_CHUNK_CHECKSUM_MISMATCH", 422, "the chunk does not have the announced checksum")
FILE_CHECKSUM_MISMATCH = Problem("ERR_FILE_CHECKSUM_MISMATCH", 422, "the file does not have the announced checksum")
CHUNK_EXISTS = Problem("ERR_CHUNK_EXISTS", 409, "this chunk is here already, with other bytes")
CHUNKS_MISSING = Problem("ERR_CHUNKS_MISSING", 409, "not all chunks are here")
NOT_CHUNKED = Problem("ERR_NOT_CHUNKED", 409, "this upload is not in chunks: use the tus protocol")
UPLOAD_COMPLETE = Problem("ERR_UPLOAD_COMPLETE", 409, "the upload is complete")
UPLOAD_FAILED = Problem("ERR_UPLOAD_FAILED", 409, "the upload has failed")
DETECTION_UNAVAILABLE = Problem(
    "ERR_DETECTION_UNAVAILABLE", 503, "the server cannot detect the types of files at the moment", retry_after=60
)
FILE_NOT_FOUND = Problem("ERR_FILE_NOT_FOUND", 404, "file not found")
FILE_NOT_READY = Problem("ERR_FILE_NOT_READY", 409, "the file is not ready")
FILE_QUARANTINED = Problem("ERR_FILE_QUARANTINED", 403, "the file is quarantined")
FILE_GONE = Problem("ERR_FILE_GONE", 410, "the file is gone")
LINK_REQUIRED = Problem("ERR_LINK_REQUIRED", 403, "files can be had by signed links only")

# Signed links.
INVALID_QUERY = Problem(
    "ERR_INVALID_QUERY", 400, "the query has a parameter that stands twice, is unknown or malformed"
)
INVALID_LINK = Problem("ERR_INVALID_LINK", 403, "the link is not valid, or no longer")

Evidence = int | str | None


class UploadError(Exception):
    """A problem met while serving a request, with the facts that show it.

    `evidence` (names to numbers or short words, such as the expected and the received offset) goes to the log, and
    what a client may know of it to response headers; it never holds a secret or a metadata value.
    """

    def __init__(self, problem: Problem, **evidence: Evidence) -> None:
        super().__init__(problem, evidence)
        self.problem = problem
        self.evidence = evidence

    def __str__(self) -> str:
        facts = " ".join(f"{name}={value}" for name, value in self.evidence.items())
        return f"{self.problem.code}: {self.problem.message}" + (f" ({facts})" if facts else "")
