import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError
from tusd_py.core.headers import Checksum
from tusd_py.core.rules import Append, AppendPlan, check_expiry, check_size, expires_at, final_size, plan_append
from tusd_py.core.uploads import Upload

LARGEST = 2**63 - 1
SIZES = st.integers(0, 2**63 - 1) | st.integers(0, 20)


def upload(size: int | None = 10, offset: int = 0, *, is_partial: bool = False, changed_at: float = 0.0) -> Upload:
    return Upload("u", size, offset=offset, is_partial=is_partial, changed_at=changed_at)


@pytest.mark.parametrize(
    ("before", "append", "body_length", "max_size", "plan"),
    [
        (upload(10), Append(0), 10, 0, AppendPlan(0, 10, 10)),
        (upload(10), Append(0), None, 0, AppendPlan(0, 10, 10)),
        (upload(10, 4), Append(4), 6, 0, AppendPlan(4, 10, 6)),
        (upload(10, 10), Append(10), 0, 0, AppendPlan(10, 10, 0)),
        (upload(0), Append(0), 0, 0, AppendPlan(0, 0, 0)),
        (upload(None, 4), Append(4), 6, 0, AppendPlan(4, None, LARGEST - 4)),
        (upload(None, 4), Append(4), 6, 10, AppendPlan(4, None, 6)),
        (upload(None, 4), Append(4, declared_size=10), 6, 0, AppendPlan(4, 10, 6)),
        (upload(None, 4), Append(4, declared_size=4), 0, 0, AppendPlan(4, 4, 0)),
        (upload(10, 4), Append(4, declared_size=10), 6, 0, AppendPlan(4, 10, 6)),
    ],
)
def test_a_patch_may_write_the_rest_of_the_upload(
    before: Upload, append: Append, body_length: int | None, max_size: int, plan: AppendPlan
) -> None:
    assert plan_append(before, append, body_length, max_size) == plan


@pytest.mark.parametrize(
    ("before", "append", "body_length", "max_size", "problem"),
    [
        (upload(10, 5), Append(0), 5, 0, errors.MISMATCHED_OFFSET),
        (upload(10, 5), Append(4), 5, 0, errors.MISMATCHED_OFFSET),
        (upload(10, 5), Append(6), 4, 0, errors.MISMATCHED_OFFSET),
        (upload(10, 5), Append(2**62), 5, 0, errors.MISMATCHED_OFFSET),
        (upload(10, 10), Append(0, declared_size=11), 5, 0, errors.MISMATCHED_OFFSET),
        (upload(10, 5), Append(5), 6, 0, errors.UPLOAD_SIZE_EXCEEDED),
        (upload(10, 10), Append(10), 1, 0, errors.UPLOAD_SIZE_EXCEEDED),
        (upload(None, 5), Append(5), 6, 10, errors.MAX_SIZE_EXCEEDED),
        (upload(None, 5), Append(5, declared_size=11), 6, 10, errors.MAX_SIZE_EXCEEDED),
        (upload(None, 5), Append(5, declared_size=10), 6, 0, errors.UPLOAD_SIZE_EXCEEDED),
        (upload(None, 5), Append(5, declared_size=4), 0, 0, errors.INVALID_UPLOAD_LENGTH),
        (upload(10, 5), Append(5, declared_size=11), 5, 0, errors.INVALID_UPLOAD_LENGTH),
    ],
)
def test_a_patch_that_contradicts_the_upload_is_refused(
    before: Upload, append: Append, body_length: int | None, max_size: int, problem: Problem
) -> None:
    with pytest.raises(UploadError) as caught:
        plan_append(before, append, body_length, max_size)
    assert caught.value.problem is problem


def test_a_mismatched_offset_tells_the_right_one() -> None:
    with pytest.raises(UploadError) as caught:
        plan_append(upload(10, 5), Append(3), 1, 0)
    assert caught.value.evidence == {"expected": 5, "received": 3}


@given(
    size=st.none() | SIZES,
    offset=SIZES,
    declared=st.none() | SIZES,
    body_length=st.none() | SIZES,
    max_size=SIZES,
    said_offset=st.none() | SIZES,
)
def test_no_plan_goes_beyond_the_size_the_maximum_or_63_bits(
    size: int | None,
    offset: int,
    declared: int | None,
    body_length: int | None,
    max_size: int,
    said_offset: int | None,
) -> None:
    """Uploads as they can exist: a known size is below the maximum, and the offset below the size."""
    if size is not None:
        size = min(size, max_size or LARGEST)
        offset = min(offset, size)
    before = upload(size, offset)
    append = Append(offset if said_offset is None else said_offset, declared_size=declared)
    refusal: int | None = None
    try:
        plan = plan_append(before, append, body_length, max_size)
    except UploadError as error:
        refusal = error.problem.status
    if refusal is not None:
        assert refusal in {400, 409, 413}
        return
    assert plan.offset == offset == append.offset
    assert plan.size == (size if declared is None else declared)
    assert plan.limit >= 0
    end = plan.offset + plan.limit
    assert end <= max(offset, LARGEST if plan.size is None else plan.size)
    assert not max_size or end <= max(offset, max_size)
    assert body_length is None or body_length <= plan.limit


@pytest.mark.parametrize(
    ("append", "is_verified"),
    [
        (Append(0), False),
        (Append(0, checksum=Checksum("crc32", bytes(4))), True),
        (Append(0, checksum_in_trailer=True), True),
    ],
)
def test_a_body_is_verified_if_a_checksum_comes_before_or_after_it(append: Append, is_verified: bool) -> None:
    assert append.is_verified is is_verified


@pytest.mark.parametrize(("size", "max_size"), [(0, 0), (10, 10), (LARGEST, 0), (0, 1)])
def test_a_size_up_to_the_maximum_is_allowed(size: int, max_size: int) -> None:
    check_size(size, max_size)


@pytest.mark.parametrize(("size", "max_size"), [(11, 10), (LARGEST + 1, 0)])
def test_a_size_above_the_maximum_is_refused(size: int, max_size: int) -> None:
    with pytest.raises(UploadError) as caught:
        check_size(size, max_size)
    assert caught.value.problem is errors.MAX_SIZE_EXCEEDED


# --- concatenation ---


def test_a_final_upload_is_as_long_as_its_parts_together() -> None:
    parts = [upload(5, 5, is_partial=True), upload(6, 6, is_partial=True), upload(0, 0, is_partial=True)]
    assert final_size(parts, partial_only=True, max_size=11) == 11
    assert final_size([parts[0], parts[0]], partial_only=True, max_size=0) == 10


def test_in_compatible_mode_any_complete_upload_may_be_a_part() -> None:
    final = Upload("f", 4, parts=("a",), offset=4)
    assert final_size([upload(5, 5), final], partial_only=False, max_size=0) == 9


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (upload(5, 4, is_partial=True), errors.UPLOAD_NOT_FINISHED),
        (upload(None, 5, is_partial=True), errors.UPLOAD_NOT_FINISHED),
        (upload(5, 5), errors.INVALID_CONCAT),
        (Upload("f", 4, parts=("a",), offset=4), errors.INVALID_CONCAT),
    ],
)
def test_a_part_must_be_partial_and_complete(part: Upload, problem: Problem) -> None:
    with pytest.raises(UploadError) as caught:
        final_size([upload(5, 5, is_partial=True), part], partial_only=True, max_size=0)
    assert caught.value.problem is problem


def test_a_final_upload_has_the_maximum_size_of_any_other() -> None:
    part = upload(6, 6, is_partial=True)
    with pytest.raises(UploadError) as caught:
        final_size([part, part], partial_only=True, max_size=11)
    assert caught.value.problem is errors.MAX_SIZE_EXCEEDED


# --- expiry ---


@pytest.mark.parametrize(
    ("before", "expire_after", "expected"),
    [
        (upload(10, 5, changed_at=1000.0), 60.0, 1060.0),
        (upload(None, 5, changed_at=1000.0), 60.0, 1060.0),
        (upload(10, 10, changed_at=1000.0), 60.0, None),
        (upload(10, 5, changed_at=1000.0), 0.0, None),
    ],
)
def test_an_unfinished_upload_expires_after_its_newest_change(
    before: Upload, expire_after: float, expected: float | None
) -> None:
    assert expires_at(before, expire_after) == expected


@pytest.mark.parametrize("now", [1060.0, 2000.0])
def test_an_upload_whose_time_is_over_has_expired_whether_or_not_it_was_swept(now: float) -> None:
    with pytest.raises(UploadError) as caught:
        check_expiry(upload(10, 5, changed_at=1000.0), 60.0, now)
    assert caught.value.problem is errors.UPLOAD_EXPIRED


@pytest.mark.parametrize(
    ("before", "expire_after", "now"),
    [
        (upload(10, 5, changed_at=1000.0), 60.0, 1059.9),
        (upload(10, 5, changed_at=1000.0), 0.0, 2000.0),
        (upload(10, 10, changed_at=1000.0), 60.0, 2000.0),
    ],
)
def test_other_uploads_have_not(before: Upload, expire_after: float, now: float) -> None:
    check_expiry(before, expire_after, now)
