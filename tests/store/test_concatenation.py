import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store import largest_file, opened
from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.store.concatenation import append_file


def never() -> bool:
    return False


def after(calls: int) -> Callable[[], bool]:
    """A stop that is requested when it has been looked for so many times."""
    looks = iter(range(calls))
    return lambda: next(looks, None) is None


def test_files_are_appended_in_order_up_to_the_size_that_counts(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello ")
    (tmp_path / "b").write_bytes(b"world and more")
    with opened(tmp_path / "target") as target:
        append_file(target, tmp_path / "a", 6, never)
        append_file(target, tmp_path / "b", 5, never)
        append_file(target, tmp_path / "a", 0, never)
    assert (tmp_path / "target").read_bytes() == b"hello world"


def test_a_file_on_another_file_system_is_copied(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 17)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere, opened(tmp_path / "target") as target:
        assert Path(elsewhere).stat().st_dev != tmp_path.stat().st_dev
        source = Path(elsewhere, "part")
        source.write_bytes(content)
        os.write(target, b"before")
        append_file(target, source, len(content), never)
    assert (tmp_path / "target").read_bytes() == b"before" + content


def test_where_the_kernel_does_not_copy_it_goes_through_memory(tmp_path: Path) -> None:
    """To a file that is open for appending, for one."""
    content = os.urandom(3 * 1024 * 1024 + 17)
    (tmp_path / "part").write_bytes(content)
    with (tmp_path / "target").open("ab", buffering=0) as target:
        target.write(b"before")
        append_file(target.fileno(), tmp_path / "part", len(content), never)
    assert (tmp_path / "target").read_bytes() == b"before" + content


@pytest.mark.parametrize("place", [None, "/dev/shm"], ids=["same file system", "another file system"])
def test_a_file_that_has_become_shorter_is_an_unfinished_part(tmp_path: Path, place: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=place) as folder, opened(tmp_path / "target") as target:
        source = Path(folder, "part")
        source.write_bytes(b"123")
        with pytest.raises(UploadError) as caught:
            append_file(target, source, 5, never)
    assert caught.value.problem is errors.UPLOAD_NOT_FINISHED
    assert caught.value.evidence == {"missing": 2}


def test_a_stop_ends_the_copy(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    with opened(tmp_path / "target") as target, pytest.raises(UploadError) as caught:
        append_file(target, tmp_path / "a", 5, lambda: True)
    assert caught.value.problem is errors.SERVER_SHUTDOWN
    assert (tmp_path / "target").read_bytes() == b""


def test_a_stop_ends_a_copy_that_has_begun(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere, opened(tmp_path / "target") as target:
        source = Path(elsewhere, "part")
        source.write_bytes(bytes(5 * 1024 * 1024))
        with pytest.raises(UploadError) as caught:
            append_file(target, source, 5 * 1024 * 1024, after(3))
        assert 0 < os.fstat(target).st_size < 5 * 1024 * 1024
    assert caught.value.problem is errors.SERVER_SHUTDOWN


@pytest.mark.parametrize("place", [None, "/dev/shm"], ids=["same file system", "another file system"])
def test_a_full_disk_is_told_as_it_is(tmp_path: Path, place: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=place) as folder, opened(tmp_path / "target") as target:
        source = Path(folder, "part")
        source.write_bytes(bytes(100_000))
        with largest_file(10_000), pytest.raises(OSError, match="File too large"):
            append_file(target, source, 100_000, never)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    with opened(tmp_path / "target") as target:
        before = os.listdir("/proc/self/fd")
        append_file(target, tmp_path / "a", 5, never)
        with pytest.raises(UploadError):
            append_file(target, tmp_path / "a", 6, never)
        with pytest.raises(FileNotFoundError):
            append_file(target, tmp_path / "missing", 6, never)
        assert len(os.listdir("/proc/self/fd")) == len(before)
