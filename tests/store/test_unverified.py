from pathlib import Path

import pytest

from tusd_py.core.headers import LARGEST
from tusd_py.store.unverified import UnverifiedMarks


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("upload_id", ["abc", "project/2024/ü", "x" * 1024], ids=["short", "slashes", "long"])
def test_a_mark_stands_until_it_is_removed(tmp_path: Path, durable: bool, upload_id: str) -> None:
    marks = UnverifiedMarks(tmp_path, durable=durable)
    assert marks.offset(upload_id) is None
    marks.set(upload_id, 1234)
    assert UnverifiedMarks(tmp_path, durable=durable).offset(upload_id) == 1234
    marks.set(upload_id, 7)
    assert marks.offset(upload_id) == 7
    marks.remove(upload_id)
    assert marks.offset(upload_id) is None
    assert list(tmp_path.iterdir()) == []


def test_removing_a_mark_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    UnverifiedMarks(tmp_path, durable=True).remove("abc")


def test_marks_of_ids_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    marks = UnverifiedMarks(tmp_path, durable=False)
    ids = ["a/b", "a%2Fb", "a_b", "a", "x" * 500, "x" * 501, "ü" * 100, "ü" * 101]
    for number, upload_id in enumerate(ids):
        marks.set(upload_id, number)
    assert [marks.offset(upload_id) for upload_id in ids] == list(range(len(ids)))


def test_an_offset_of_zero_is_a_mark(tmp_path: Path) -> None:
    marks = UnverifiedMarks(tmp_path, durable=False)
    marks.set("abc", 0)
    assert marks.offset("abc") == 0


@pytest.mark.parametrize("text", [b"", b"\x00\x00", b"-5", b"junk"])
def test_a_mark_that_was_never_written_whole_sets_no_limit(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "abc").write_bytes(text)
    assert UnverifiedMarks(tmp_path, durable=False).offset("abc") == LARGEST
