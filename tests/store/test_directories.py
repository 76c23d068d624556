import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tusd_py.store.directories import UnusableDirectory, prepare_directories, release_foreign_locks


@pytest.fixture
def tusd_process() -> Iterator[subprocess.Popen[bytes]]:
    """Some other process that is alive."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def dead_process() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_that_is_missing_is_made_with_its_mode(tmp_path: Path) -> None:
    directory, state = tmp_path / "deep" / "data", tmp_path / "deep" / "data" / ".tusd-py"
    umask = os.umask(0o022)
    try:
        prepare_directories(directory, state, 0o750)
    finally:
        os.umask(umask)
    assert mode_of(directory) == 0o750
    assert mode_of(state) == 0o711
    assert {entry.name: mode_of(entry) for entry in state.iterdir()} == {
        "workspace": 0o700,
        "unverified": 0o700,
        "run": 0o700,
        "chunks": 0o700,
        "pending": 0o700,
        "files": 0o700,
        "hooks": 0o700,
        "quarantine": 0o700,
        "thumbnails": 0o700,
        "public": 0o755,
    }


def test_what_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / ".tusd-py"
    prepare_directories(tmp_path, state, 0o775)
    (tmp_path / "upload").write_bytes(b"hello")
    (state / "unverified" / "upload").write_bytes(b"2")
    prepare_directories(tmp_path, state, 0o775)
    assert (tmp_path / "upload").read_bytes() == b"hello"
    assert (state / "unverified" / "upload").read_bytes() == b"2"


def test_a_file_in_the_place_of_the_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(UnusableDirectory, match="unable to create directory"):
        prepare_directories(tmp_path / "data", tmp_path / "state", 0o775)


def test_the_state_directory_must_be_on_the_same_file_system(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert Path(elsewhere).stat().st_dev != tmp_path.stat().st_dev
        with pytest.raises(UnusableDirectory, match="same file system"):
            prepare_directories(tmp_path / "data", Path(elsewhere), 0o775)


def test_a_directory_that_a_live_tusd_uses_is_refused_and_the_lock_stays(
    tmp_path: Path, tusd_process: subprocess.Popen[bytes]
) -> None:
    lock = tmp_path / "abc.lock"
    lock.write_text(f"{tusd_process.pid}\n")
    with pytest.raises(UnusableDirectory, match=f"abc.lock.*{tusd_process.pid}"):
        prepare_directories(tmp_path, tmp_path / ".tusd-py", 0o775)
    assert lock.exists()


def test_a_live_lock_in_a_subdirectory_counts_too(tmp_path: Path, tusd_process: subprocess.Popen[bytes]) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "abc.lock").write_text(f"{tusd_process.pid}\n")
    with pytest.raises(UnusableDirectory):
        release_foreign_locks(tmp_path)


def test_locks_of_processes_that_are_gone_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    for name in ("abc", "abc.info", "project/def", "project/def.info"):
        (tmp_path / name).write_bytes(b"kept")
    before = sorted(tmp_path.rglob("*"))
    gone = f"{dead_process()}\n"
    for name, text in (
        ("abc.lock", gone),
        ("abc.stop", ""),
        ("project/def.lock", gone),
        ("empty.lock", ""),
        ("junk.lock", "not a number\n"),
        ("bytes.lock", "\udcff"),
        ("zero.lock", "0\n"),
        ("negative.lock", "-1\n"),
        ("huge.lock", "9" * 30),
    ):
        (tmp_path / name).write_text(text, errors="surrogateescape")
    release_foreign_locks(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_our_own_number_in_a_lock_is_that_of_a_predecessor_in_a_container(tmp_path: Path) -> None:
    (tmp_path / "abc.lock").write_text(f"{os.getpid()}\n")
    release_foreign_locks(tmp_path)
    assert not (tmp_path / "abc.lock").exists()


def test_hidden_directories_are_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / ".other").mkdir()
    (tmp_path / ".other" / "abc.lock").write_text("junk")
    release_foreign_locks(tmp_path)
    assert (tmp_path / ".other" / "abc.lock").exists()


def test_a_directory_whose_name_cannot_stand_in_an_info_file_is_refused(tmp_path: Path) -> None:
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(UnusableDirectory, match="UTF-8"):
        prepare_directories(directory, directory / ".tusd-py", 0o775)
