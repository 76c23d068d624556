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

# Ours: tusd has no such answer.
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
