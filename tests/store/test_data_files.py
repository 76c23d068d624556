import fcntl
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tusd_py.store.data_files import claimed_data_file, remove_unpublished


def claimed(path: Path, info: Path) -> AbstractContextManager[None]:
    return claimed_data_file(str(path), str(info), 0o600, 0o700)


def test_a_claimed_file_is_empty_and_stays_when_its_info_file_is_published(tmp_path: Path) -> None:
    path, info = tmp_path / "a" / "b" / "abc", tmp_path / "a" / "b" / "abc.info"
    with claimed(path, info):
        assert path.read_bytes() == b""
        info.write_bytes(b"{}")
    assert path.read_bytes() == b""


def test_a_file_that_was_made_for_nothing_goes(tmp_path: Path) -> None:
    path, info = tmp_path / "abc", tmp_path / "abc.info"
    with pytest.raises(ValueError, match="failed"), claimed(path, info):
        raise ValueError("failed")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_before_stays(tmp_path: Path) -> None:
    path, info = tmp_path / "abc", tmp_path / "abc.info"
    path.touch()
    with pytest.raises(ValueError, match="failed"), claimed(path, info):
        raise ValueError("failed")
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    path, info = tmp_path / "abc", tmp_path / "abc.info"
    descriptors = len(os.listdir("/proc/self/fd"))
    first, second = (claimed(path, info) for _ in range(2))
    with first:
        with pytest.raises(FileExistsError), second:
            pass
        assert path.exists()
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("there", ["abc", "abc.info"], ids=["data", "info"])
def test_what_is_there_with_bytes_or_described_is_taken(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_bytes(b"theirs")
    with pytest.raises(FileExistsError), claimed(tmp_path / "abc", tmp_path / "abc.info"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == [there]


def test_data_without_an_info_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"half")
    assert remove_unpublished(str(tmp_path / "abc"), str(tmp_path / "abc.info"))
    assert list(tmp_path.iterdir()) == []


def test_data_with_an_info_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"whole")
    (tmp_path / "abc.info").write_bytes(b"{}")
    assert not remove_unpublished(str(tmp_path / "abc"), str(tmp_path / "abc.info"))
    assert (tmp_path / "abc").exists()


def test_data_that_somebody_works_on_is_not_removed(tmp_path: Path) -> None:
    with (tmp_path / "abc").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not remove_unpublished(str(tmp_path / "abc"), str(tmp_path / "abc.info"))
    assert (tmp_path / "abc").exists()


@pytest.mark.parametrize("name", ["missing", "folder", "file/below"])
def test_where_there_is_no_data_there_is_nothing_to_remove(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert remove_unpublished(str(tmp_path / name), str(tmp_path / f"{name}.info"))
    assert (tmp_path / "folder").is_dir()
