import pytest

from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError


def table() -> dict[str, Problem]:
    return {name: value for name, value in vars(errors).items() if isinstance(value, Problem)}


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("ERR_UNSUPPORTED_VERSION", 412, "missing, invalid or unsupported Tus-Resumable header"),
        ("ERR_MAX_SIZE_EXCEEDED", 413, "maximum size exceeded"),
        ("ERR_INVALID_UPLOAD_LENGTH", 400, "missing or invalid Upload-Length header"),
        ("ERR_INVALID_OFFSET", 400, "missing or invalid Upload-Offset header"),
        ("ERR_UPLOAD_NOT_FOUND", 404, "upload not found"),
        ("ERR_UPLOAD_LOCKED", 423, "file currently locked"),
        ("ERR_MISMATCHED_OFFSET", 409, "mismatched offset"),
        ("ERR_UPLOAD_SIZE_EXCEEDED", 413, "upload's size exceeded"),
        ("ERR_UPLOAD_NOT_FINISHED", 400, "one of the partial uploads is not finished"),
        ("ERR_INVALID_CONCAT", 400, "invalid Upload-Concat header"),
        ("ERR_CONCATENATION_UNSUPPORTED", 400, "Upload-Concat header is not supported by server"),
        ("ERR_MODIFY_FINAL", 403, "modifying a final upload is not allowed"),
        ("ERR_AMBIGUOUS_UPLOAD_LENGTH", 400, "provided both Upload-Length and Upload-Defer-Length"),
        ("ERR_INVALID_UPLOAD_LENGTH_DEFER", 400, "invalid Upload-Defer-Length header"),
        (
            "ERR_UPLOAD_INTERRUPTED",
            400,
            "upload has been interrupted by another request for this upload resource",
        ),
        ("ERR_SERVER_SHUTDOWN", 503, "request has been interrupted because the server is shutting down"),
        ("ERR_ORIGIN_NOT_ALLOWED", 403, "request origin is not allowed"),
        ("ERR_UNEXPECTED_EOF", 400, "server expected to receive more bytes"),
        ("ERR_READ_TIMEOUT", 500, "timeout while reading request body"),
        ("ERR_CONNECTION_RESET", 500, "TCP connection reset by peer"),
    ],
)
def test_what_tusd_has_a_word_for_is_said_as_tusd_says_it(code: str, status: int, message: str) -> None:
    (problem,) = (problem for problem in table().values() if problem.code == code)
    assert (problem.status, problem.message) == (status, message)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ERR_INVALID_CONTENT_TYPE", 415),
        ("ERR_UPLOAD_EXISTS", 400),
        ("ERR_UPLOAD_EXPIRED", 410),
        ("ERR_CHECKSUM_MISMATCH", 460),
        ("ERR_DISK_FULL", 507),
        ("ERR_INTERNAL_SERVER_ERROR", 500),
    ],
)
def test_where_tusd_has_no_answer_or_another_one_the_status_is_that_of_the_protocol(code: str, status: int) -> None:
    (problem,) = (problem for problem in table().values() if problem.code == code)
    assert problem.status == status


def test_every_code_belongs_to_one_problem_and_follows_from_its_name() -> None:
    codes = [problem.code for problem in table().values()]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("ERR_") for code in codes)


def test_only_trouble_that_passes_by_itself_asks_for_another_try() -> None:
    for problem in table().values():
        assert (problem.retry_after is not None) == (problem.status in {423, 503})


def test_an_error_names_its_code_and_the_facts_that_show_it() -> None:
    error = UploadError(errors.MISMATCHED_OFFSET, expected=5, received=3)
    assert error.problem is errors.MISMATCHED_OFFSET
    assert str(error) == "ERR_MISMATCHED_OFFSET: mismatched offset (expected=5 received=3)"
    assert str(UploadError(errors.INVALID_OFFSET)) == "ERR_INVALID_OFFSET: missing or invalid Upload-Offset header"
