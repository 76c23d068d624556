import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.calling import descriptors, problem_of
from tests.running import DEADLINE
from tests.store.dying import outcomes_of_crashes
from tusd_py.core import errors
from tusd_py.core.records import FileRecord, Status, new_file_id, settled
from tusd_py.store.directories import prepare_directories
from tusd_py.store.records import RecordStore

FILE_ID = "f_0123456789abcdef0123456789abcdef"
CONTENT = b"hello world"
HEADERS = {"type": "text/plain", "disposition": 'inline;filename="ü.txt"'}

STORE = """
from tusd_py.core.records import FileRecord, Status, settled
from tusd_py.store.directories import prepare_directories
from tusd_py.store.records import RecordStore

FILE_ID = "f_0123456789abcdef0123456789abcdef"


def store_in(directory):
    return RecordStore(directory / ".tusd-py", durable=True)


def record_in(directory):
    return FileRecord(FILE_ID, "abc", str(directory / "abc"), "world.txt", 11, "text/plain", "me", 5.0, 6.0)


def fresh(directory):
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    (directory / "abc").write_bytes(b"hello world")


"""

CLAIM = (
    "import sys\nfrom pathlib import Path\n"
    + STORE
    + """
directory, event = Path(sys.argv[1]), sys.argv[2]
paused = False


def at_system_call(name, arguments):
    global paused
    if name == event and not paused:
        paused = True
        print("paused", flush=True)
        sys.stdin.readline()


sys.addaudithook(at_system_call)
claim = store_in(directory).claim(FILE_ID)
print("claimed" if claim else "none", flush=True)
sys.stdin.readline()
if claim:
    claim.release()
"""
)
"""Claims the record in a process of its own, after a pause at the given call of the system, until it is told to end."""


def store_in(directory: Path, *, durable: bool = False) -> RecordStore:
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    return RecordStore(directory / ".tusd-py", durable=durable)


def record_in(directory: Path, file_id: str = FILE_ID) -> FileRecord:
    """The record of a file that is there."""
    path = directory / "abc"
    path.write_bytes(CONTENT)
    return FileRecord(file_id, "abc", str(path), "world.txt", len(CONTENT), "text/plain", "me", 5.0, 6.0)


def files_in(directory: Path) -> list[str]:
    """Every file below the state directory."""
    state = directory / ".tusd-py"
    return sorted(str(path.relative_to(state)) for path in state.rglob("*") if path.is_file())


@contextmanager
def claiming_process(directory: Path, *, paused_at: str = "nothing") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CLAIM, str(directory), paused_at]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


# --- pending and settled ---


@pytest.mark.parametrize("durable", [False, True])
def test_a_record_is_pending_until_it_is_settled(tmp_path: Path, durable: bool) -> None:
    store = store_in(tmp_path, durable=durable)
    record = record_in(tmp_path)
    assert not store.exists(FILE_ID)
    store.add(record)
    assert (store.load(FILE_ID), store.exists(FILE_ID)) == (record, True)
    assert (store.pending_ids(), list(store.settled_ids())) == ([FILE_ID], [])
    assert files_in(tmp_path) == [f"pending/{FILE_ID}.json"]
    ready = settled(record, Status.READY)
    store.settle(ready)
    assert (store_in(tmp_path).load(FILE_ID), store.exists(FILE_ID)) == (ready, True)
    assert (store.pending_ids(), list(store.settled_ids())) == ([], [FILE_ID])
    assert files_in(tmp_path) == [f"files/01/{FILE_ID}.json"]


def test_records_are_for_us_only(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = store_in(tmp_path)
        store.add(record_in(tmp_path))
        pending = tmp_path / ".tusd-py" / "pending" / f"{FILE_ID}.json"
        assert stat.S_IMODE(pending.stat().st_mode) == 0o600
        store.settle(settled(record_in(tmp_path), Status.READY))
    finally:
        os.umask(umask)
    (folder,) = (tmp_path / ".tusd-py" / "files").iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())] == [0o700, 0o600]


def test_a_record_that_is_there_already_stays(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record = record_in(tmp_path)
    store.add(record)
    store.add(replace(record, file_name="other"))
    assert store.load(FILE_ID) == record


def test_a_settled_record_can_change(tmp_path: Path) -> None:
    store = store_in(tmp_path, durable=True)
    record = record_in(tmp_path)
    store.add(record)
    store.settle(settled(record, Status.READY))
    store.replace(settled(record, Status.GONE))
    assert store.load(FILE_ID).status is Status.GONE
    assert list(store.settled_ids()) == [FILE_ID]


def test_many_records_are_listed_once_each(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    ids = sorted(new_file_id() for _ in range(40))
    for file_id in ids:
        store.add(record_in(tmp_path, file_id))
    assert sorted(store.pending_ids()) == ids
    for file_id in ids[:30]:
        store.settle(settled(record_in(tmp_path, file_id), Status.READY))
    assert sorted(store.settled_ids()) == ids[:30]
    assert sorted(store.pending_ids()) == ids[30:]


@pytest.mark.parametrize(
    "file_id", ["", "abc", "f_", FILE_ID, FILE_ID.upper(), "../pending/" + FILE_ID, "f_" + "/" * 32]
)
def test_an_id_without_a_record_is_not_found(tmp_path: Path, file_id: str) -> None:
    store = store_in(tmp_path)
    store.add(record_in(tmp_path, new_file_id()))
    assert problem_of(lambda: store.load(file_id)) is errors.FILE_NOT_FOUND
    assert not store.exists(file_id)


def test_a_file_of_somebody_else_is_no_work(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for name in ("notes.txt", "abc.json", ".json", "f_x.json"):
        (tmp_path / ".tusd-py" / "pending" / name).write_bytes(b"{}")
    assert store.pending_ids() == []


@pytest.mark.parametrize("text", [b"", b"{}", bytes(500)], ids=["empty", "object", "zeros"])
def test_a_record_that_cannot_be_read_is_our_error_and_stays(tmp_path: Path, text: bytes) -> None:
    store = store_in(tmp_path)
    store.add(record_in(tmp_path))
    (tmp_path / ".tusd-py" / "pending" / f"{FILE_ID}.json").write_bytes(text)
    before = descriptors()
    for _ in range(2):
        assert problem_of(lambda: store.load(FILE_ID)) is errors.INTERNAL_SERVER_ERROR
        assert problem_of(lambda: store.claim(FILE_ID)) is errors.INTERNAL_SERVER_ERROR
    assert descriptors() == before
    assert store.pending_ids() == [FILE_ID]


def test_without_its_directories_the_store_is_not_available(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record = record_in(tmp_path)
    for name in ("pending", "files"):
        (tmp_path / ".tusd-py" / name).rmdir()
    assert problem_of(lambda: store.add(record)) is errors.STORE_UNAVAILABLE
    assert problem_of(lambda: store.settle(settled(record, Status.READY))) is errors.STORE_UNAVAILABLE
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("look", ["load", "exists", "claim or load"])
def test_a_record_is_never_missed_while_it_is_being_settled(tmp_path: Path, look: str) -> None:
    store = store_in(tmp_path)
    records = [record_in(tmp_path, new_file_id()) for _ in range(200)]
    added = threading.Semaphore(0)
    is_settled = [threading.Event() for _ in records]

    def settle_all() -> None:
        for record, event in zip(records, is_settled, strict=True):
            store.add(record)
            added.release()
            store.settle(settled(record, Status.READY))
            event.set()

    def is_there(file_id: str) -> bool:
        if look == "exists":
            return store.exists(file_id)
        if look == "load":
            return store.load(file_id).id == file_id
        claim = store.claim(file_id)
        if claim is None:
            return store.load(file_id).is_settled
        claim.release()
        return claim.record.status is Status.PROCESSING

    worker = threading.Thread(target=settle_all)
    worker.start()
    missed = []
    for record, event in zip(records, is_settled, strict=True):
        assert added.acquire(timeout=DEADLINE)
        while worker.is_alive() and not event.is_set():
            missed += [] if is_there(record.id) else [record.id]
    worker.join()
    assert missed == []


def test_what_is_noted_is_in_the_record_while_it_is_pending_and_claimed(tmp_path: Path) -> None:
    store = store_in(tmp_path, durable=True)
    store.add(record_in(tmp_path))
    claim = store.claim(FILE_ID)
    assert claim is not None
    for result in ("a long result", "short", None):
        noted = replace(claim.record, scan_result=result)
        store.note(noted)
        assert store.load(FILE_ID) == noted
        assert store.claim(FILE_ID) is None
    claim.release()
    store.settle(settled(record_in(tmp_path), Status.READY))
    assert problem_of(lambda: store.note(claim.record)) is errors.FILE_NOT_FOUND
    assert store.load(FILE_ID).status is Status.READY


def test_a_record_can_be_read_while_something_is_noted_in_it(tmp_path: Path) -> None:
    """Of several pages, so that the kernel does not write all of it at once."""
    store = store_in(tmp_path)
    record = record_in(tmp_path)
    store.add(record)
    results = [letter * size for letter, size in (("a", 10), ("b", 9000), ("c", 30), ("d", 40_000))]

    def note_all() -> None:
        for _ in range(20):
            for result in results:
                store.note(replace(record, scan_result=result))

    worker = threading.Thread(target=note_all)
    worker.start()
    found = set()
    while worker.is_alive():
        found.add(store.load(FILE_ID).id)
    worker.join()
    assert found == {FILE_ID}


@pytest.mark.parametrize("tail", [b"{", b'{"id":"f_', bytes(5000)], ids=["brace", "some", "zeros"])
def test_a_note_that_dies_leaves_what_was_known_before(tmp_path: Path, tail: bytes) -> None:
    store = store_in(tmp_path)
    known = replace(record_in(tmp_path), scan_result="known before")
    store.add(record_in(tmp_path))
    store.note(known)
    with (tmp_path / ".tusd-py" / "pending" / f"{FILE_ID}.json").open("ab") as file:
        file.write(tail)
    assert store.load(FILE_ID) == known
    claim = store.claim(FILE_ID)
    assert claim is not None
    assert claim.record == known
    store.note(settled(known, Status.QUARANTINED, "known now"))
    assert store.load(FILE_ID) == settled(known, Status.QUARANTINED, "known now")
    claim.release()


def test_how_much_work_is_left_and_the_age_of_the_oldest_is_known(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.backlog() == (0, 0.0)
    before = time.time()
    store.add(record_in(tmp_path))
    count, age = store.backlog()
    assert count == 1
    assert 0.0 <= age <= time.time() - before + 1.0
    store.add(record_in(tmp_path, new_file_id()))
    count, later_age = store.backlog()
    assert count == 2
    assert later_age >= age


@pytest.mark.parametrize("durable", [False, True])
def test_a_settled_record_can_be_put_on_the_list_of_work_again(tmp_path: Path, durable: bool) -> None:
    store = store_in(tmp_path, durable=durable)
    record = record_in(tmp_path)
    store.add(record)
    store.publish(record, HEADERS)
    store.settle(settled(record, Status.READY, "clean"))
    before = time.time()
    store.reopen(store.load(FILE_ID))
    reopened = store.load(FILE_ID)
    assert reopened.reopened_at is not None
    assert before <= reopened.reopened_at <= time.time()
    assert replace(reopened, reopened_at=None) == replace(record, scan_result="clean")
    assert files_in(tmp_path) == [f"pending/{FILE_ID}.json"]
    store.reopen(settled(record, Status.GONE))
    assert store.load(FILE_ID) == reopened
    claim = store.claim(FILE_ID)
    assert claim is not None
    with (tmp_path / ".tusd-py" / "pending" / f"{FILE_ID}.json").open("ab") as file:
        file.write(b"{")  # a note that died
    store.note(replace(reopened, scan_result="x"))
    assert store.load(FILE_ID) == replace(reopened, scan_result="x")
    store.settle(settled(claim.record, Status.READY))
    claim.release()
    assert (store.pending_ids(), list(store.settled_ids())) == ([], [FILE_ID])


def test_reopening_that_dies_loses_no_record(tmp_path: Path) -> None:
    code = """
def prepare(directory):
    fresh(directory)
    store = store_in(directory)
    store.add(record_in(directory))
    store.settle(settled(record_in(directory), Status.READY))


def operate(directory):
    store_in(directory).reopen(store_in(directory).load(FILE_ID))
"""
    statuses = []
    for directory in outcomes_of_crashes(tmp_path, STORE + code):
        store = store_in(directory)
        statuses.append(store.load(FILE_ID).status)
        for file_id in store.pending_ids():
            claim = store.claim(file_id)
            assert claim is not None
            store.settle(settled(claim.record, Status.READY))
            claim.release()
        assert store.load(FILE_ID).status is Status.READY
        assert (store.pending_ids(), list(store.settled_ids())) == ([], [FILE_ID])
    assert set(statuses) == {Status.PROCESSING, Status.READY}


# --- claims ---


def test_a_claim_is_exclusive_until_it_is_released(tmp_path: Path) -> None:
    store, other = store_in(tmp_path), store_in(tmp_path)
    record = record_in(tmp_path)
    store.add(record)
    before = descriptors()
    for claimer in (store, other):
        claim = claimer.claim(FILE_ID)
        assert claim is not None
        assert claim.record == record
        assert [each.claim(FILE_ID) for each in (store, other)] == [None, None]
        assert store.load(FILE_ID) == record
        claim.release()
    assert descriptors() == before


def test_there_is_nothing_to_claim_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.claim(FILE_ID) is None
    store.add(record_in(tmp_path))
    store.settle(settled(record_in(tmp_path), Status.READY))
    assert store.claim(FILE_ID) is None


def test_a_claim_excludes_other_processes_and_is_lost_with_a_killed_one(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.add(record_in(tmp_path))
    with claiming_process(tmp_path) as process:
        assert line_of(process) == "claimed"
        assert store.claim(FILE_ID) is None
        process.kill()
        process.wait()
        claim = store.claim(FILE_ID)
        assert claim is not None
    with claiming_process(tmp_path) as process:
        assert line_of(process) == "none"
    claim.release()
    with claiming_process(tmp_path) as process:
        assert line_of(process) == "claimed"


@pytest.mark.parametrize("has_another_name", [False, True])
def test_a_record_that_was_settled_since_it_was_opened_is_not_claimed(tmp_path: Path, has_another_name: bool) -> None:
    """The other name is what a crash leaves that comes between publishing a record and clearing up."""
    store = store_in(tmp_path)
    store.add(record_in(tmp_path))
    pending = tmp_path / ".tusd-py" / "pending" / f"{FILE_ID}.json"
    if has_another_name:
        (tmp_path / ".tusd-py" / "workspace" / "0123456789abcdef.").hardlink_to(pending)
    with claiming_process(tmp_path, paused_at="fcntl.flock") as process:
        assert line_of(process) == "paused"
        store.settle(settled(record_in(tmp_path), Status.READY))
        tell(process)
        assert line_of(process) == "none"
    assert store.load(FILE_ID).status is Status.READY


def test_a_long_record_is_claimed_whole(tmp_path: Path) -> None:
    """As metadata, control characters take six times the room in JSON that they took in the header."""
    store = store_in(tmp_path)
    record = replace(record_in(tmp_path), file_name="\x01" * 500_000)
    store.add(record)
    claim = store.claim(FILE_ID)
    assert claim is not None
    assert claim.record == record
    claim.release()


# --- removing ---


@pytest.mark.parametrize("stage", ["pending", "published", "settled", "unknown"])
def test_a_removed_record_leaves_nothing_but_the_bytes(tmp_path: Path, stage: str) -> None:
    store = store_in(tmp_path)
    record = record_in(tmp_path)
    if stage != "unknown":
        store.add(record)
    if stage in {"published", "settled"}:
        store.publish(record, HEADERS)
    if stage == "settled":
        store.settle(settled(record, Status.READY))
    store.remove(FILE_ID)
    assert files_in(tmp_path) == []
    assert (tmp_path / "abc").read_bytes() == CONTENT
    assert problem_of(lambda: store.load(FILE_ID)) is errors.FILE_NOT_FOUND


@pytest.mark.parametrize("is_published_first", [False, True])
def test_a_record_that_is_removed_while_it_is_worked_on_leaves_nothing(
    tmp_path: Path, is_published_first: bool
) -> None:
    store = store_in(tmp_path)
    store.add(record_in(tmp_path))
    claim = store.claim(FILE_ID)
    assert claim is not None
    if is_published_first:
        store.publish(claim.record, HEADERS)
    store.remove(FILE_ID)
    if not is_published_first:
        store.publish(claim.record, HEADERS)
    store.settle(settled(claim.record, Status.READY))
    claim.release()
    assert files_in(tmp_path) == []
    assert problem_of(lambda: store.load(FILE_ID)) is errors.FILE_NOT_FOUND


def test_removing_beside_settling_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for _ in range(100):
        record = record_in(tmp_path, new_file_id())
        store.add(record)
        settle = threading.Thread(target=store.settle, args=(settled(record, Status.READY),))
        settle.start()
        store.remove(record.id)
        settle.join()
        assert [name for name in files_in(tmp_path) if not name.startswith("files/")] == []
    assert list(store.settled_ids()) == []


def test_a_record_that_was_removed_does_not_come_back_by_who_still_knows_it(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record = settled(record_in(tmp_path), Status.READY)
    store.add(record_in(tmp_path))
    store.settle(record)
    store.remove(FILE_ID)
    store.reopen(record)
    store.replace(settled(record, Status.GONE))
    store.settle(record)
    assert files_in(tmp_path) == []
    assert problem_of(lambda: store.load(FILE_ID)) is errors.FILE_NOT_FOUND


def test_removing_beside_reopening_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for _ in range(100):
        record = record_in(tmp_path, new_file_id())
        store.add(record)
        store.settle(settled(record, Status.READY))
        reopen = threading.Thread(target=store.reopen, args=(settled(record, Status.READY),))
        reopen.start()
        store.remove(record.id)
        reopen.join()
        assert [name for name in files_in(tmp_path) if not name.startswith("files/")] == []
    assert list(store.settled_ids()) == []


# --- the public tree ---


def test_what_a_killed_server_has_left_public_of_removed_files_is_swept_away(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    pending, ready, removed = (record_in(tmp_path, new_file_id()) for _ in range(3))
    for record in (pending, ready, removed):
        store.publish(record, HEADERS)
    store.add(pending)
    store.add(ready)
    store.settle(settled(ready, Status.READY))
    store.sweep_public()
    assert [store.is_public(record.id) for record in (pending, ready, removed)] == [True, True, False]
    assert len(list((tmp_path / ".tusd-py" / "public").iterdir())) == 4


def test_published_bytes_are_the_file_itself_with_the_headers_beside_it(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record = record_in(tmp_path)
    assert not store.is_public(FILE_ID)
    store.publish(record, HEADERS)
    public = tmp_path / ".tusd-py" / "public"
    assert store.is_public(FILE_ID)
    assert (public / FILE_ID).samefile(record.path)
    assert json.loads((public / f"{FILE_ID}.json").read_bytes()) == HEADERS
    store.publish(record, HEADERS)
    assert {path.name for path in public.iterdir()} == {FILE_ID, f"{FILE_ID}.json"}
    store.withdraw(FILE_ID)
    store.withdraw(FILE_ID)
    assert not store.is_public(FILE_ID)
    assert list(public.iterdir()) == []
    assert (tmp_path / "abc").read_bytes() == CONTENT


def test_an_edge_may_read_the_headers(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        store_in(tmp_path).publish(record_in(tmp_path), HEADERS)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / ".tusd-py" / "public" / f"{FILE_ID}.json").stat().st_mode) == 0o644


def test_bytes_on_another_file_system_get_no_name(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        record = record_in(Path(elsewhere))
        assert Path(elsewhere).stat().st_dev != tmp_path.stat().st_dev
        store.publish(record, HEADERS)
        assert Path(record.path).read_bytes() == CONTENT
    assert not store.is_public(FILE_ID)
    assert files_in(tmp_path) == []


def test_bytes_that_are_gone_leave_no_headers(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record = record_in(tmp_path)
    Path(record.path).unlink()
    assert problem_of(lambda: store.publish(record, HEADERS)) is errors.UPLOAD_NOT_FOUND
    assert files_in(tmp_path) == []


# --- after a crash ---


def test_an_addition_that_dies_adds_the_whole_record_or_none(tmp_path: Path) -> None:
    code = """
prepare = fresh


def operate(directory):
    store_in(directory).add(record_in(directory))
"""
    found = []
    for directory in outcomes_of_crashes(tmp_path, STORE + code):
        store = store_in(directory)
        found.append(store.exists(FILE_ID))
        if found[-1]:
            assert store.load(FILE_ID) == record_in(directory)
        assert store.pending_ids() == [FILE_ID] * found[-1]
        store.add(record_in(directory))
        claim = store.claim(FILE_ID)
        assert claim is not None
        claim.release()
    assert set(found) == {False, True}


def test_work_that_dies_is_done_again_and_no_record_is_lost(tmp_path: Path) -> None:
    code = """
def prepare(directory):
    fresh(directory)
    store_in(directory).add(record_in(directory))


def operate(directory):
    store = store_in(directory)
    claim = store.claim(FILE_ID)
    store.publish(claim.record, {"type": "text/plain"})
    store.settle(settled(claim.record, Status.READY))
    claim.release()
"""
    statuses = []
    for directory in outcomes_of_crashes(tmp_path, STORE + code):
        store = store_in(directory)
        public = directory / ".tusd-py" / "public"
        assert (public / f"{FILE_ID}.json").exists() or not store.is_public(FILE_ID)
        statuses.append(store.load(FILE_ID).status)
        for file_id in store.pending_ids():
            claim = store.claim(file_id)
            assert claim is not None
            store.publish(claim.record, HEADERS)
            store.settle(settled(claim.record, Status.READY))
            claim.release()
        assert store.is_public(FILE_ID)
        assert store.load(FILE_ID) == settled(record_in(directory), Status.READY)
        assert (store.pending_ids(), list(store.settled_ids())) == ([], [FILE_ID])
    assert set(statuses) == {Status.PROCESSING, Status.READY}
    assert len(statuses) > 6


def test_a_withdrawal_that_dies_never_leaves_bytes_without_their_headers(tmp_path: Path) -> None:
    code = """
def prepare(directory):
    fresh(directory)
    store_in(directory).publish(record_in(directory), {"type": "text/plain"})


def operate(directory):
    store_in(directory).withdraw(FILE_ID)
"""
    found = set()
    for directory in outcomes_of_crashes(tmp_path, STORE + code):
        public = directory / ".tusd-py" / "public"
        names = frozenset(path.name for path in public.iterdir())
        assert FILE_ID not in names or f"{FILE_ID}.json" in names
        found.add(names)
        store_in(directory).withdraw(FILE_ID)
        assert list(public.iterdir()) == []
    assert len(found) == 3
