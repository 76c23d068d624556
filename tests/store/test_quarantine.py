import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.store.dying import outcomes_of_crashes
from tusd_py.core.errors import UploadError
from tusd_py.core.records import FileRecord
from tusd_py.store.quarantine import Quarantine
from tusd_py.store.workspace import sync_directory

FILE_ID = "f_" + "0" * 32
DATA = b"infected" * 1000

# The quarantine of a directory, and a record of bytes beside it: in processes that are killed, and in this one.
SETTING = """
from pathlib import Path
from tusd_py.core.records import FileRecord
from tusd_py.store.quarantine import Quarantine

def quarantine_of(directory, keep=True):
    return Quarantine(directory / "quarantine", keep=keep, durable=True, file_mode=0o640)

def record_of(path):
    return FileRecord(FILE_ID, "abc", str(path), "name", SIZE, "text/plain", "anonymous", 0.0, 0.0)
""".replace("FILE_ID", repr(FILE_ID)).replace("SIZE", str(len(DATA)))


def make(directory: Path, *, keep: bool = True, durable: bool = False) -> Quarantine:
    return Quarantine(directory / "quarantine", keep=keep, durable=durable, file_mode=0o640)


def record_at(path: Path) -> FileRecord:
    return FileRecord(FILE_ID, "abc", str(path), "name", len(DATA), "text/plain", "anonymous", 0.0, 0.0)


def held(directory: Path) -> Path:
    return directory / "quarantine" / FILE_ID


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[None]:
    previous = os.umask(0o022)
    yield
    os.umask(previous)


@pytest.fixture(params=["here", "elsewhere"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where data files are: beside the quarantine, or on another file system."""
    if request.param == "here":
        (tmp_path / "uploads").mkdir()
        yield tmp_path / "uploads"
        return
    for root in (Path("/dev/shm"), Path("/var/tmp"), Path("/run")):
        if os.access(root, os.W_OK) and root.stat().st_dev != tmp_path.stat().st_dev:
            with TemporaryDirectory(dir=root, prefix="tusd-py-") as name:
                yield Path(name)
            return
    pytest.skip("there is no second file system to write to")


@pytest.fixture
def record(folder: Path) -> FileRecord:
    path = folder / "abc"
    path.write_bytes(DATA)
    path.chmod(0o664)
    return record_at(path)


@pytest.mark.parametrize("durable", [True, False])
def test_quarantined_bytes_are_away_from_their_place_and_for_the_owner_alone(
    tmp_path: Path, folder: Path, record: FileRecord, durable: bool
) -> None:
    taken = make(tmp_path, durable=durable)
    assert not taken.holds(FILE_ID)
    taken.take(record)
    assert taken.holds(FILE_ID)
    assert held(tmp_path).read_bytes() == DATA
    assert (mode_of(held(tmp_path)), mode_of(tmp_path / "quarantine")) == (0o600, 0o700)
    assert list(folder.iterdir()) == []
    assert list((tmp_path / "quarantine").iterdir()) == [held(tmp_path)]


def test_taking_twice_changes_nothing(tmp_path: Path, record: FileRecord) -> None:
    for _ in range(2):
        make(tmp_path).take(record)
        assert held(tmp_path).read_bytes() == DATA


def test_a_download_that_has_the_file_open_reads_on(tmp_path: Path, record: FileRecord) -> None:
    with open(record.path, "rb") as download:
        assert download.read(10) == DATA[:10]
        make(tmp_path).take(record)
        assert download.read() == DATA[10:]


@pytest.mark.usefixtures("umask")
def test_released_bytes_are_back_as_they_were(tmp_path: Path, folder: Path, record: FileRecord) -> None:
    for _ in range(2):
        make(tmp_path).take(record)
        assert make(tmp_path).release(record) == Path(record.path)
        assert Path(record.path).read_bytes() == DATA
        assert mode_of(Path(record.path)) == 0o640
        assert list((tmp_path / "quarantine").iterdir()) == []
        assert list(folder.iterdir()) == [Path(record.path)]


def test_releasing_twice_changes_nothing(tmp_path: Path, record: FileRecord) -> None:
    make(tmp_path).take(record)
    for _ in range(2):
        assert make(tmp_path).release(record).read_bytes() == DATA


def test_bytes_that_are_in_no_place_cannot_be_released(tmp_path: Path, record: FileRecord) -> None:
    make(tmp_path).take(record)
    held(tmp_path).unlink()
    with pytest.raises(UploadError) as raised:
        make(tmp_path).release(record)
    assert raised.value.problem.status == 404


def test_bytes_that_have_taken_the_place_are_not_overwritten(tmp_path: Path, record: FileRecord) -> None:
    make(tmp_path).take(record)
    Path(record.path).write_bytes(b"other")
    with pytest.raises(UploadError) as raised:
        make(tmp_path).release(record)
    assert raised.value.problem.code == "ERR_UPLOAD_EXISTS"
    assert Path(record.path).read_bytes() == b"other"
    assert held(tmp_path).read_bytes() == DATA


def test_bytes_that_are_not_kept_are_gone(tmp_path: Path, folder: Path, record: FileRecord) -> None:
    for _ in range(2):
        make(tmp_path, keep=False, durable=True).take(record)
        assert list(folder.iterdir()) == []
        assert not (tmp_path / "quarantine").exists()


def test_bytes_kept_before_are_gone_as_well(tmp_path: Path, record: FileRecord) -> None:
    make(tmp_path).take(record)
    make(tmp_path, keep=False).take(record)
    assert list((tmp_path / "quarantine").iterdir()) == []


@pytest.mark.parametrize("keep", [True, False])
def test_bytes_that_somebody_moved_away_are_left_at_that(tmp_path: Path, keep: bool) -> None:
    make(tmp_path, keep=keep, durable=True).take(record_at(tmp_path / "gone" / "abc"))
    assert not make(tmp_path).holds(FILE_ID)


def test_the_bytes_stay_if_they_cannot_be_moved(
    tmp_path: Path, record: FileRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(UploadError) as raised:
        make(tmp_path).take(record)
    assert raised.value.problem.status == 507
    assert Path(record.path).read_bytes() == DATA


def test_bytes_of_another_user_are_moved_with_the_mode_they_have(
    tmp_path: Path, record: FileRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(errno.EPERM, "not the owner")

    monkeypatch.setattr(Path, "chmod", refuse)
    monkeypatch.setattr("os.fchown", refuse)
    make(tmp_path).take(record)
    assert held(tmp_path).read_bytes() == DATA


def outcomes(tmp_path: Path, folder: Path, operation: str, *, prepare: str = "") -> Iterator[Path]:
    """Directories after an operation that was killed at each of its calls; `folder` has one of the same name."""
    code = f"""{SETTING}
def data(directory):
    return Path({str(folder)!r}) / directory.name / "abc"

def prepare(directory):
    data(directory).parent.mkdir()
    data(directory).write_bytes({DATA!r})
    {prepare}

def operate(directory):
    {operation}
"""
    yield from outcomes_of_crashes(tmp_path / "crashes", code)


TAKE = "quarantine_of(directory).take(record_of(data(directory)))"
RELEASE = "quarantine_of(directory).release(record_of(data(directory)))"
DELETE = "quarantine_of(directory, keep=False).take(record_of(data(directory)))"


def complete_or_missing(path: Path) -> bool:
    return not path.exists() or path.read_bytes() == DATA


def test_a_killed_take_is_done_again(tmp_path: Path, folder: Path) -> None:
    for directory in outcomes(tmp_path, folder, TAKE):
        data = folder / directory.name / "abc"
        assert data.exists() or held(directory).exists()
        assert complete_or_missing(data)
        assert complete_or_missing(held(directory))
        make(directory).take(record_at(data))
        assert held(directory).read_bytes() == DATA
        assert mode_of(held(directory)) == 0o600
        assert list(data.parent.iterdir()) == []
        assert list((directory / "quarantine").iterdir()) == [held(directory)]


def test_a_killed_release_is_done_again(tmp_path: Path, folder: Path) -> None:
    for directory in outcomes(tmp_path, folder, RELEASE, prepare=TAKE):
        data = folder / directory.name / "abc"
        assert data.exists() or held(directory).exists()
        assert complete_or_missing(data)
        assert complete_or_missing(held(directory))
        make(directory).release(record_at(data))
        assert data.read_bytes() == DATA
        assert list(data.parent.iterdir()) == [data]
        assert not held(directory).exists()


def test_a_killed_removal_is_done_again(tmp_path: Path, folder: Path) -> None:
    for directory in outcomes(tmp_path, folder, DELETE):
        data = folder / directory.name / "abc"
        make(directory, keep=False).take(record_at(data))
        assert list(data.parent.iterdir()) == []
        assert list(directory.iterdir()) == []


def test_bytes_that_are_not_kept_are_gone_also_after_a_killed_take(tmp_path: Path, folder: Path) -> None:
    """Somebody has changed the flag in between."""
    for directory in outcomes(tmp_path, folder, TAKE):
        data = folder / directory.name / "abc"
        make(directory, keep=False).take(record_at(data))
        assert list(data.parent.iterdir()) == []
        assert [path for path in directory.rglob("*") if path.is_file()] == []


def test_names_are_durable_in_an_order_that_keeps_the_bytes(
    tmp_path: Path, record: FileRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes' new name is synced before the old one goes, where these are two steps."""
    done: list[str] = []

    def noted(name: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            function(*arguments)
            done.append(name)

        return call

    monkeypatch.setattr("tusd_py.store.quarantine.sync_directory", noted("sync", sync_directory))
    monkeypatch.setattr(Path, "unlink", noted("unlink", Path.unlink))
    make(tmp_path, durable=True).take(record)
    assert done[:2] in (["sync", "sync"], ["sync", "unlink"])
    assert done[-1] == "sync"
