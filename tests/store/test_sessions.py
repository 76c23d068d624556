import hashlib
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calling import problem_of
from tests.store import largest_file, opened
from tests.store.dying import outcomes_of_crashes
from tusd_py.core import errors
from tusd_py.core.chunks import Initiation
from tusd_py.core.sessions import Session
from tusd_py.core.threads import done
from tusd_py.store.directories import prepare_directories
from tusd_py.store.sessions import SessionStore

CONTENT = b"hello world"
LONG_AGO = 1_000_000_000

STORE = """
from tusd_py.core.chunks import Initiation
from tusd_py.core.sessions import Session
from tusd_py.store.directories import prepare_directories
from tusd_py.store.sessions import SessionStore

session = Session("abc", "f", Initiation("name", 11, "text/plain", "00" * 32), 4, 5.0)


def store_in(directory):
    return SessionStore(directory / ".tusd-py", file_mode=0o664, each_durable=True)


"""


def store_in(directory: Path, *, each_durable: bool = False, file_mode: int = 0o664) -> SessionStore:
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    return SessionStore(directory / ".tusd-py", file_mode=file_mode, each_durable=each_durable)


def session_of(content: bytes = CONTENT, *, upload_id: str = "abc", chunk_size: int = 4) -> Session:
    announced = Initiation("name", len(content), "text/plain", hashlib.sha256(content).hexdigest())
    return Session(upload_id, "f_" + "0" * 32, announced, chunk_size, 5.0)


def files_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def folder_of(directory: Path, upload_id: str = "abc") -> Path:
    return directory / ".tusd-py" / "chunks" / upload_id


def put(store: SessionStore, session: Session, number: int, content: bytes = CONTENT) -> bytes:
    """Write a chunk of the content in its place and let it count; its digest."""
    start = session.offset_of(number)
    chunk = content[start : start + session.length_of(number)]
    with opened(store.data_path(session.id)) as data, opened(store.marks_path(session.id)) as marks:
        receiver = store.receiver(session, number, data)
        receiver.write(chunk)
        digest = receiver.digest()
        assert digest == hashlib.sha256(chunk).digest()
        done(store.marking(marks, number, digest, data))
    return digest


# --- creating and finding ---


@pytest.mark.parametrize("each_durable", [False, True])
def test_a_new_session_has_no_chunks_and_takes_no_room_yet(tmp_path: Path, each_durable: bool) -> None:
    store = store_in(tmp_path, each_durable=each_durable)
    session = session_of(bytes(50_000_000), chunk_size=65536)
    before = time.time()
    created = store.create(session)
    assert before <= created.changed_at <= time.time()
    found = store_in(tmp_path).load("abc")
    assert found.announced == session.announced
    assert (found.id, found.file_id, found.chunk_size) == (session.id, session.file_id, 65536)
    assert (found.created_at, found.failure) == (5.0, None)
    assert store.marked(session) == {}
    status = store.data_path("abc").stat()
    assert status.st_size == 50_000_000
    assert status.st_blocks * 512 < 100_000
    assert files_in(tmp_path) == [f".tusd-py/chunks/abc/{name}" for name in ("data", "marks", "session.json")]


def test_the_data_has_the_mode_that_files_are_to_have_and_the_rest_is_ours(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        store_in(tmp_path, file_mode=0o664).create(session_of())
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder_of(tmp_path).iterdir()}
    assert modes == {"data": 0o644, "marks": 0o600, "session.json": 0o600}
    assert stat.S_IMODE(folder_of(tmp_path).stat().st_mode) == 0o700


def test_an_empty_file_has_a_session_too(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of(b""))
    assert store.marked(session) == {}
    assert list(store.marked_from(session, 0)) == []
    assert store.unmark_damaged(session) == ()


@pytest.mark.parametrize("upload_id", ["", ".", "..", "../chunks/abc", "missing", "abc/data", "abc.info", "x" * 300])
def test_an_id_without_a_session_is_not_found(tmp_path: Path, upload_id: str) -> None:
    store = store_in(tmp_path)
    store.create(session_of())
    assert problem_of(lambda: store.load(upload_id)) is errors.UPLOAD_NOT_FOUND


def test_all_sessions_are_listed_by_their_ids(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for upload_id in ("abc", "def", "a b"):
        store.create(session_of(upload_id=upload_id))
    assert sorted(store.upload_ids()) == ["a b", "abc", "def"]
    assert store.load("a b").id == "a b"


def test_a_taken_id_is_refused_and_its_session_untouched(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    put(store, session, 0)
    assert problem_of(lambda: store.create(session_of(b"other"))) is errors.UPLOAD_EXISTS
    assert store.load("abc").announced == session.announced
    assert set(store.marked(session)) == {0}


def test_a_session_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with largest_file(10_000):
        assert problem_of(lambda: store.create(session_of(bytes(10_001)))) is errors.DISK_FULL
    assert list(folder_of(tmp_path).parent.iterdir()) == []


def test_without_its_directory_the_store_is_not_available(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    folder_of(tmp_path).parent.rmdir()
    assert problem_of(lambda: store.create(session_of())) is errors.STORE_UNAVAILABLE


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 100_000, bytes(100)], ids=["empty", "object", "deep", "zeros"])
def test_a_session_that_a_loss_of_power_has_torn_is_none_and_goes(tmp_path: Path, text: bytes) -> None:
    store = store_in(tmp_path)
    store.create(session_of())
    (folder_of(tmp_path) / "session.json").write_bytes(text)
    assert problem_of(lambda: store.load("abc")) is errors.UPLOAD_NOT_FOUND
    os.utime(folder_of(tmp_path), (LONG_AGO, LONG_AGO))
    store.sweep()
    assert not folder_of(tmp_path).exists()


def test_a_session_changes_with_its_chunks(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    for name in ("session.json", "marks", "data"):
        os.utime(folder_of(tmp_path) / name, (LONG_AGO, LONG_AGO))
    assert store.load("abc").changed_at == LONG_AGO
    before = time.time()
    put(store, session, 0)
    assert before - 1 <= store.load("abc").changed_at <= time.time()


def test_a_session_that_has_failed_says_why_and_keeps_its_chunks(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    put(store, session, 0)
    assert store.fail(session, "checksum").failure == "checksum"
    found = store_in(tmp_path).load("abc")
    assert (found.failure, found.announced) == ("checksum", session.announced)
    assert set(store.marked(found)) == {0}


# --- chunks ---


@pytest.mark.parametrize("each_durable", [False, True])
def test_chunks_in_any_order_make_the_file(tmp_path: Path, each_durable: bool) -> None:
    store = store_in(tmp_path, each_durable=each_durable)
    session = store.create(session_of())
    digests = {}
    for number in (2, 0, 1):
        digests[number] = put(store, session, number)
        assert store_in(tmp_path).marked(session) == digests
    assert store.data_path("abc").read_bytes() == CONTENT


def test_a_chunk_counts_only_when_it_is_marked(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    with opened(store.data_path("abc")) as data, opened(store.marks_path("abc")) as marks:
        store.receiver(session, 1, data).write(b"o wo")
        assert store.digest_of(marks, 1) is None
        assert store.marked(session) == {}
        done(store.marking(marks, 1, hashlib.sha256(b"o wo").digest(), data))
        assert store.digest_of(marks, 1) == hashlib.sha256(b"o wo").digest()
        assert store.digest_of(marks, 0) is None
        assert store.digest_of(marks, 3) is None
        assert store.digest_of(marks, 10**9) is None


@pytest.mark.parametrize("number", [0, 2])
def test_a_chunk_never_writes_into_its_neighbours(tmp_path: Path, number: int) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    with opened(store.data_path("abc")) as data:
        receiver = store.receiver(session, number, data)
        assert problem_of(lambda: receiver.write(b"x" * 20)) is errors.UPLOAD_SIZE_EXCEEDED
    expected = bytearray(len(CONTENT))
    start, length = session.offset_of(number), session.length_of(number)
    expected[start : start + length] = b"x" * length
    assert store.data_path("abc").read_bytes() == expected


@given(st.dictionaries(st.integers(0, 299), st.binary(min_size=32, max_size=32)), st.integers(0, 299))
@settings(max_examples=15, deadline=None)
def test_marks_say_what_was_marked(
    tmp_path_factory: pytest.TempPathFactory, digests: Mapping[int, bytes], start: int
) -> None:
    store = store_in(tmp_path_factory.mktemp("marks"))
    session = store.create(session_of(bytes(300), chunk_size=1))
    with opened(store.data_path("abc")) as data, opened(store.marks_path("abc")) as marks:
        for number, digest in digests.items():
            done(store.marking(marks, number, digest, data))
        assert {number: store.digest_of(marks, number) for number in digests} == digests
    assert store.marked(session) == digests
    end = next(number for number in range(start, 301) if number not in digests)
    assert list(store.marked_from(session, start)) == list(range(start, end))


def test_a_chunk_that_is_marked_meanwhile_is_met_by_who_goes_through_them(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    put(store, session, 0)
    numbers = store.marked_from(session, 0)
    assert next(numbers) == 0
    put(store, session, 1)
    assert list(numbers) == [1]


def test_a_chunk_is_read_back(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    store = store_in(tmp_path)
    session = store.create(session_of(content, chunk_size=1_500_000))
    for number, chunk in enumerate((content[:1_500_000], content[1_500_000:])):
        put(store, session, number, content)
        found = bytearray()
        store.read_chunk(session, number, found.extend)
        assert found == chunk


def test_a_chunk_of_which_bytes_were_cut_off_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    put(store, session, 0)
    os.truncate(store.data_path("abc"), 3)
    found = bytearray()
    store.read_chunk(session, 0, found.extend)
    assert found == CONTENT[:3]


def test_what_was_removed_meanwhile_is_not_found(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    store.remove("abc")
    for action in (
        lambda: store.marked(session),
        lambda: list(store.marked_from(session, 0)),
        lambda: store.read_chunk(session, 0, bytearray().extend),
        lambda: store.unmark_damaged(session),
    ):
        assert problem_of(action) is errors.UPLOAD_NOT_FOUND


# --- damage ---


@pytest.mark.parametrize("damaged", [(), (0,), (1, 2), (0, 1, 2)], ids=str)
def test_chunks_that_are_damaged_are_missing_again_and_no_other(tmp_path: Path, damaged: tuple[int, ...]) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    digests = {number: put(store, session, number) for number in range(3)}
    with opened(store.data_path("abc")) as data:
        for number in damaged:
            os.pwrite(data, b"X", session.offset_of(number) + session.length_of(number) - 1)
    assert store.unmark_damaged(session) == damaged
    assert store.marked(session) == {number: digest for number, digest in digests.items() if number not in damaged}
    for number in damaged:
        put(store, session, number)
    assert store.unmark_damaged(session) == ()
    assert store.marked(session) == digests


def test_chunks_that_were_cut_off_are_damaged(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    for number in range(3):
        put(store, session, number)
    os.truncate(store.data_path("abc"), 5)
    assert store.unmark_damaged(session) == (1, 2)


def test_chunks_that_were_never_there_are_not_damaged(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    put(store, session, 1)
    assert store.unmark_damaged(session) == ()


# --- ending ---


def test_a_removed_session_leaves_nothing_and_others_stay(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.create(session_of(upload_id="other"))
    before = files_in(tmp_path)
    put(store, store.create(session_of()), 0)
    store.remove("abc")
    store.remove("abc")
    assert files_in(tmp_path) == before
    assert list(store.upload_ids()) == ["other"]
    assert problem_of(lambda: store.load("abc")) is errors.UPLOAD_NOT_FOUND


def test_a_file_that_was_made_of_a_session_outlives_it(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    session = store.create(session_of())
    for number in range(3):
        put(store, session, number)
    (tmp_path / "file").hardlink_to(store.data_path("abc"))
    store.remove("abc")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_sweep_removes_what_is_no_session_and_old_and_nothing_else(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for upload_id in ("live", "old-half", "young-half"):
        put(store, store.create(session_of(upload_id=upload_id)), 0)
    for upload_id in ("old-half", "young-half"):
        (folder_of(tmp_path, upload_id) / "session.json").unlink()
    for upload_id in ("live", "old-half"):
        os.utime(folder_of(tmp_path, upload_id), (LONG_AGO, LONG_AGO))
    store.sweep()
    assert sorted(store.upload_ids()) == ["live", "young-half"]
    assert set(store.marked(store.load("live"))) == {0}


# --- after a crash ---


def test_a_creation_that_dies_is_whole_or_garbage(tmp_path: Path) -> None:
    code = """
def prepare(directory):
    prepare_directories(directory, directory / ".tusd-py", 0o775)


def operate(directory):
    store_in(directory).create(session)
"""
    found = []
    for directory in outcomes_of_crashes(tmp_path, STORE + code):
        store = store_in(directory)
        found.append((folder_of(directory) / "session.json").exists())
        if found[-1]:
            session = store.load("abc")
            assert [put(store, session, number) for number in range(3)]
        else:
            assert problem_of(lambda: store.load("abc")) is errors.UPLOAD_NOT_FOUND  # noqa: B023 -- at once
        for folder in folder_of(directory).parent.iterdir():
            os.utime(folder, (LONG_AGO, LONG_AGO))
        store.sweep()
        assert list(store.upload_ids()) == (["abc"] if found[-1] else [])
    assert set(found) == {False, True}
    assert len(found) > 6


def test_a_removal_that_dies_leaves_the_session_whole_or_garbage(tmp_path: Path) -> None:
    code = """
def prepare(directory):
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    store_in(directory).create(session)


def operate(directory):
    store_in(directory).remove("abc")
"""
    found = []
    for directory in outcomes_of_crashes(tmp_path, STORE + code):
        store = store_in(directory)
        names = {path.name for path in folder_of(directory).parent.glob("abc/*")}
        found.append("session.json" in names)
        assert names == {"data", "marks", "session.json"} or not found[-1]
        store.remove("abc")
        assert files_in(directory) == []
        assert list(store.upload_ids()) == []
    assert set(found) == {False, True}


def test_a_failure_is_written_down_or_not_when_that_dies(tmp_path: Path) -> None:
    code = """
def prepare(directory):
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    store_in(directory).create(session)


def operate(directory):
    store_in(directory).fail(session, "checksum")
"""
    failures = [store_in(directory).load("abc").failure for directory in outcomes_of_crashes(tmp_path, STORE + code)]
    assert set(failures) == {None, "checksum"}
