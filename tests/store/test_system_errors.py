import errno

import pytest

from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError
from tusd_py.store.system_errors import problem_of, system_errors_translated


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (errno.ENOENT, errors.UPLOAD_NOT_FOUND),
        (errno.ENOTDIR, errors.UPLOAD_NOT_FOUND),
        (errno.EISDIR, errors.UPLOAD_NOT_FOUND),
        (errno.ENAMETOOLONG, errors.UPLOAD_NOT_FOUND),
        (errno.ELOOP, errors.UPLOAD_NOT_FOUND),
        (errno.ENOSPC, errors.DISK_FULL),
        (errno.EDQUOT, errors.DISK_FULL),
        (errno.EFBIG, errors.DISK_FULL),
        (errno.EEXIST, errors.UPLOAD_EXISTS),
        (errno.EIO, errors.STORE_UNAVAILABLE),
        (errno.EACCES, errors.STORE_UNAVAILABLE),
        (errno.EROFS, errors.STORE_UNAVAILABLE),
        (errno.ESTALE, errors.STORE_UNAVAILABLE),
    ],
)
def test_an_error_of_the_system_becomes_an_answer_for_the_client(number: int, problem: Problem) -> None:
    error = OSError(number, "trouble")
    assert problem_of(error) is problem
    with pytest.raises(UploadError) as caught, system_errors_translated():
        raise error
    assert caught.value.problem is problem
    assert caught.value.evidence == {"system_error": errno.errorcode[number]}
    assert caught.value.__cause__ is error


def test_an_error_without_a_number_is_trouble_of_ours() -> None:
    with pytest.raises(UploadError) as caught, system_errors_translated():
        raise OSError("trouble")
    assert caught.value.problem is errors.STORE_UNAVAILABLE


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(UploadError) as caught, system_errors_translated():
        raise UploadError(errors.MISMATCHED_OFFSET)
    assert caught.value.problem is errors.MISMATCHED_OFFSET
    with pytest.raises(ValueError, match="ours"), system_errors_translated():
        raise ValueError("ours")
