import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from traceback import walk_tb

import pytest

from tests.calling import problem_of
from tests.running import DEADLINE
from tests.store import largest_file, opened, store_in
from tests.store.dying import outcomes_of_crashes as outcomes_of_dying
from tests.tusd_directory import write_as_tusd
from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.ids import is_upload_id
from tusd_py.core.threads import done
from tusd_py.core.uploads import CHUNKS, Upload
from tusd_py.store.durability import Durability
from tusd_py.store.filesystem import FilesystemStore

DURABILITIES: list[Durability] = ["none", "finish", "each"]
FILE_ID = "f_0123456789abcdef0123456789abcdef"

OPERATE = """
import fcntl, os, signal, sys
from pathlib import Path
from tusd_py.core.threads import done
from tusd_py.core.uploads import Upload
from tusd_py.store.filesystem import FilesystemStore

directory, operation, event, number = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
store = FilesystemStore(
    directory, directory / ".tusd-py", file_mode=0o664, directory_mode=0o775, durability="finish", min_free_space=0
)
calls = 0


def at_system_call(name, arguments):
    global calls
    if name == event or event == "any" and name in ("open", "fcntl.flock", "os.mkdir") + CHANGES:
        calls += 1
        if calls == number and event == "any":
            os.kill(os.getpid(), signal.SIGKILL)
        if calls == number:
            print("paused", flush=True)
            sys.stdin.readline()


CHANGES = ("os.link", "os.rename", "os.remove", "os.truncate")
uploads = {name: store.load(name) for name in ("part", "project/victim", "open") if (directory / name).exists()}
locks = [os.open(upload.path, os.O_RDWR) for upload in uploads.values()]
for lock in locks:
    fcntl.flock(lock, fcntl.LOCK_EX)
sys.addaudithook(at_system_call)
if operation == "create":
    done(store.creating(Upload("new/upload", 5)))
elif operation == "concatenate":
    store.concatenate(Upload("new/upload", None, parts=("part", "part")), [uploads["part"]] * 2)
elif operation == "remove":
    store.remove(uploads["project/victim"])
elif operation == "declare":
    store.declare_size(uploads["open"], 7)
else:
    descriptor = os.open(uploads["open"].path, os.O_RDWR)
    upload = done(store.beginning("open", descriptor))
    receiver = done(store.receiving(upload, descriptor, 4, hold_back=False, algorithm="sha1", verified=True))
    receiver.write(b"4567")
    done(store.accepting(upload, descriptor, 7, verified=True))
"""
"""Does something in a process of its own, which is killed or held at the given call of the system.

As in the server, it holds the locks of the uploads that it works on.
"""


def files_in(directory: Path) -> dict[str, bytes]:
    """Every file below the directory, those of the state directory included."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def append(store: FilesystemStore, upload_id: str, data: bytes) -> Upload:
    with opened(store.load(upload_id).path) as descriptor:
        upload = done(store.beginning(upload_id, descriptor))
        limit = len(data) if upload.size is None else upload.size - upload.offset
        receiver = done(store.receiving(upload, descriptor, limit, hold_back=False, algorithm=None, verified=False))
        receiver.write(data)
        return done(store.accepting(upload, descriptor, receiver.position, verified=False))


def complete(store: FilesystemStore, upload_id: str, data: bytes) -> Upload:
    done(store.creating(Upload(upload_id, len(data), is_partial=True)))
    return append(store, upload_id, data)


# --- a directory of tusd ---


def test_a_fresh_upload_of_tusd_is_found(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"", MetaData={"filename": "world.txt", "secret": ""})
    upload = store_in(tmp_path).load("abc")
    assert (upload.id, upload.size, upload.offset) == ("abc", 11, 0)
    assert upload.metadata == {"filename": "world.txt", "secret": ""}
    assert upload.metadata_text is None
    assert upload.created_at is None
    assert upload.path == str(tmp_path / "abc")


def test_the_offset_of_a_half_done_upload_of_tusd_is_the_size_of_its_file(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello ", Offset=2)
    store = store_in(tmp_path)
    assert store.load("abc").offset == 6
    append(store, "abc", b"world")
    assert store.load("abc").is_complete
    assert (tmp_path / "abc").read_bytes() == b"hello world"


def test_a_deferred_upload_of_tusd_has_no_size(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello", Size=0, SizeIsDeferred=True)
    upload = store_in(tmp_path).load("abc")
    assert (upload.size, upload.offset, upload.is_complete) == (None, 5, False)


def test_partial_and_final_uploads_of_tusd_are_told_apart(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "part", b"hello world", IsPartial=True)
    write_as_tusd(tmp_path, "final", b"hello world" * 2, Size=22, IsFinal=True, PartialUploads=["part", "part"])
    store = store_in(tmp_path)
    assert store.load("part").is_partial
    assert not store.load("part").is_final
    final = store.load("final")
    assert final.parts == ("part", "part")
    assert final.is_complete


def test_an_upload_of_tusd_in_a_subdirectory_is_found(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "project/abc", b"hello")
    assert store_in(tmp_path).load("project/abc").offset == 5


def test_data_that_tusd_keeps_elsewhere_is_used_as_it_stands(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "file.bin"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"hello")
    (tmp_path / "data").mkdir()
    write_as_tusd(tmp_path / "data", "abc", None, Storage={"Path": str(elsewhere), "InfoPath": "", "Type": "filestore"})
    store = store_in(tmp_path / "data")
    assert store.load("abc").path == str(elsewhere)
    append(store, "abc", b" world")
    assert elsewhere.read_bytes() == b"hello world"
    store.remove(store.load("abc"))
    assert files_in(tmp_path) == {}


def test_without_a_path_the_data_is_beside_the_info_file(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello", Storage=None)
    upload = store_in(tmp_path).load("abc")
    assert (upload.path, upload.offset) == (str(tmp_path / "abc"), 5)


def test_the_id_is_the_one_that_was_asked_for_whatever_the_info_file_says(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello", ID="other", Storage={"InfoPath": "/nowhere.info"})
    assert store_in(tmp_path).load("abc").id == "abc"


def test_bytes_beyond_the_size_do_not_count(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello world and more")
    assert store_in(tmp_path).load("abc").offset == 11


# --- what is not there, or broken ---


@pytest.mark.parametrize(
    "upload_id",
    [
        "missing",
        "",
        ".",
        "..",
        "../data",
        "abc.info",
        ".tusd-py",
        "abc/below",
        "a\x00b",
        "x" * 300,
        "x" * 2000,
        "folder",
    ],
    ids=["missing", "empty", "dot", "dots", "up", "info", "state", "below", "nul", "long", "longer", "folder"],
)
def test_an_id_without_an_upload_is_not_found(tmp_path: Path, upload_id: str) -> None:
    write_as_tusd(tmp_path, "abc", b"hello")
    (tmp_path / "folder").mkdir()
    assert problem_of(lambda: store_in(tmp_path).load(upload_id)) is errors.UPLOAD_NOT_FOUND


def test_an_upload_whose_data_was_moved_away_is_not_found(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", None)
    assert problem_of(lambda: store_in(tmp_path).load("abc")) is errors.UPLOAD_NOT_FOUND


def test_data_without_an_info_file_is_no_upload(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"hello")
    assert problem_of(lambda: store_in(tmp_path).load("abc")) is errors.UPLOAD_NOT_FOUND


def test_a_directory_in_the_place_of_the_data_is_no_upload(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", None)
    (tmp_path / "abc").mkdir()
    assert problem_of(lambda: store_in(tmp_path).load("abc")) is errors.UPLOAD_NOT_FOUND


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b'{"ID":"abc","Size":11', b"[]", bytes(100), b'{"Size":"eleven"}', b'{"MetaData":{"a":1}}', b"\xff"],
)
def test_an_info_file_that_is_garbage_or_cut_is_our_error_and_stays(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "abc").write_bytes(b"hello")
    (tmp_path / "abc.info").write_bytes(text)
    assert problem_of(lambda: store_in(tmp_path).load("abc")) is errors.INTERNAL_SERVER_ERROR
    assert files_in(tmp_path) == {"abc": b"hello", "abc.info": text}


@pytest.mark.parametrize("path", ["a\x00b", "\ud800"], ids=["nul", "surrogate"])
def test_a_path_that_no_file_can_have_is_an_upload_error(tmp_path: Path, path: str) -> None:
    write_as_tusd(tmp_path, "abc", b"hello", Storage={"Path": path})
    with pytest.raises(UploadError):
        store_in(tmp_path).load("abc")


@pytest.mark.parametrize("name", ["tab\tulator", "ideographic\u3000space", "no\u00a0break", "line\nbreak"])
def test_any_path_that_a_file_can_have_is_used_as_it_stands(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello")
    write_as_tusd(tmp_path, "abc", None, Storage={"Path": str(tmp_path / name)})
    assert store_in(tmp_path).load("abc").offset == 5


# --- creating ---


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("size", [11, 0, None])
def test_a_new_upload_has_tusds_two_files(tmp_path: Path, durability: Durability, size: int | None) -> None:
    store = store_in(tmp_path, durability=durability)
    asked = Upload("abc", size, metadata={"filename": "world.txt"}, metadata_text="filename d29ybGQudHh0")
    created = done(store.creating(asked))
    assert sorted(files_in(tmp_path)) == ["abc", "abc.info"]
    assert (tmp_path / "abc").read_bytes() == b""
    info = json.loads((tmp_path / "abc.info").read_bytes())
    assert {name: info[name] for name in ("ID", "Size", "SizeIsDeferred", "Offset", "MetaData")} == {
        "ID": "abc",
        "Size": size or 0,
        "SizeIsDeferred": size is None,
        "Offset": 0,
        "MetaData": {"filename": "world.txt"},
    }
    assert info["Storage"] == {
        "InfoPath": str(tmp_path / "abc.info"),
        "Path": str(tmp_path / "abc"),
        "Type": "filestore",
    }
    loaded = store.load("abc")
    assert (loaded.size, loaded.metadata, loaded.metadata_text) == (size, asked.metadata, asked.metadata_text)
    assert loaded.created_at == created.created_at
    assert loaded.is_complete == (size == 0)


def test_both_files_have_the_mode_that_was_asked_for_with_the_umask_applied(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        done(store_in(tmp_path, file_mode=0o666).creating(Upload("abc", 1)))
    finally:
        os.umask(umask)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("abc", "abc.info")] == [0o640, 0o640]


def test_directories_are_made_for_an_id_with_slashes(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("project/2024/report", 5)))
    assert append(store, "project/2024/report", b"hello").is_complete
    assert (tmp_path / "project" / "2024" / "report").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("there", "asked"),
    [("abc", "abc"), ("abc", "abc/below"), ("abc", "abc/far/below"), ("abc/below", "abc")],
    ids=["same", "below an upload", "far below an upload", "a directory of uploads"],
)
def test_a_taken_id_is_refused_and_its_upload_untouched(tmp_path: Path, there: str, asked: str) -> None:
    store = store_in(tmp_path)
    complete(store, there, b"hello")
    part = complete(store, "part", b"other")
    before = files_in(tmp_path)
    assert problem_of(lambda: done(store.creating(Upload(asked, 1)))) is errors.UPLOAD_EXISTS
    assert problem_of(lambda: store.concatenate(Upload(asked, None, parts=("part",)), [part])) is errors.UPLOAD_EXISTS
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["abc", "abc.info"], ids=["data", "info"])
def test_a_file_of_somebody_else_is_not_taken_over(tmp_path: Path, name: str) -> None:
    store = store_in(tmp_path)
    part = complete(store, "part", b"other")
    (tmp_path / name).write_bytes(b"theirs")
    before = files_in(tmp_path)
    assert problem_of(lambda: done(store.creating(Upload("abc", 1)))) is errors.UPLOAD_EXISTS
    assert problem_of(lambda: store.concatenate(Upload("abc", None, parts=("part",)), [part])) is errors.UPLOAD_EXISTS
    assert files_in(tmp_path) == before


def test_many_refusals_cost_no_memory(tmp_path: Path) -> None:
    """An error that is raised over and over would carry the frames of all who met it."""
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 5)))
    frames = []
    for _ in range(3):
        with pytest.raises(UploadError) as caught:
            done(store.creating(Upload("abc", 5)))
        cause = caught.value.__cause__
        assert cause is not None
        frames.append(len(list(walk_tb(cause.__traceback__))))
    assert frames[0] == frames[2]


def test_a_link_that_leads_nowhere_is_a_taken_id(tmp_path: Path) -> None:
    store_in(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "upload").symlink_to("nowhere")
    with started(tmp_path, "create", "none", 0) as process:
        try:
            process.wait(DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 1
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["upload"]


def test_an_empty_upload_is_not_taken_over(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 5)))
    before = files_in(tmp_path)
    assert problem_of(lambda: done(store.creating(Upload("abc", 7)))) is errors.UPLOAD_EXISTS
    assert files_in(tmp_path) == before


def test_the_empty_data_of_a_creation_that_died_is_used(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"")
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 5)))
    assert append(store, "abc", b"hello").is_complete


def test_of_many_who_ask_for_an_id_at_once_one_gets_it_and_the_upload_is_whole(tmp_path: Path) -> None:
    store = store_in(tmp_path, durability="none")
    workers = 4
    barrier = threading.Barrier(workers)
    winners: list[str] = []

    def create() -> None:
        for number in range(200):
            barrier.wait()
            with suppress(UploadError):
                done(store.creating(Upload(f"upload-{number}", 5)))
                winners.append(f"upload-{number}")

    threads = [threading.Thread(target=create) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == sorted(f"upload-{number}" for number in range(200))
    assert [upload_id for upload_id in winners if not (tmp_path / upload_id).exists()] == []


def test_a_full_disk_leaves_nothing_of_a_creation(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with largest_file(20):
        assert problem_of(lambda: done(store.creating(Upload("abc", 5)))) is errors.DISK_FULL
    assert files_in(tmp_path) == {}


# --- concatenation ---


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_final_upload_has_the_bytes_of_its_parts_in_order(tmp_path: Path, durability: Durability) -> None:
    store = store_in(tmp_path, durability=durability)
    parts = [complete(store, "a", b"hello "), complete(store, "b", b"world"), complete(store, "empty", b"")]
    parts.append(parts[1])
    before = files_in(tmp_path)
    asked = Upload(
        "dir/final", None, metadata={"a": "b"}, parts=("a", "b", "empty", "b"), concat_text="final;a b empty b"
    )
    store.concatenate(asked, parts)
    assert (tmp_path / "dir" / "final").read_bytes() == b"hello worldworld"
    final = store.load("dir/final")
    assert (final.size, final.offset, final.is_complete, final.is_final) == (16, 16, True, True)
    assert (final.parts, final.concat_text, final.metadata) == (asked.parts, asked.concat_text, {"a": "b"})
    after = files_in(tmp_path)
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["dir/final", "dir/final.info"]


def test_a_concatenation_that_has_to_stop_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    part = complete(store, "part", b"hello")
    before = files_in(tmp_path)
    asked = Upload("final", None, parts=("part",))
    assert problem_of(lambda: store.concatenate(asked, [part], lambda: True)) is errors.SERVER_SHUTDOWN
    assert files_in(tmp_path) == before


def test_a_part_that_was_cut_back_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    part = complete(store, "part", b"hello")
    os.truncate(tmp_path / "part", 3)
    before = files_in(tmp_path)
    asked = Upload("final", None, parts=("part",))
    assert problem_of(lambda: store.concatenate(asked, [part])) is errors.UPLOAD_NOT_FINISHED
    assert files_in(tmp_path) == before


def test_a_part_that_is_gone_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    part = complete(store, "part", b"hello")
    store.remove(part)
    asked = Upload("final", None, parts=("part",))
    assert problem_of(lambda: store.concatenate(asked, [part])) is errors.INVALID_CONCAT
    assert files_in(tmp_path) == {}


def test_a_full_disk_leaves_nothing_of_a_concatenation(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    part = complete(store, "part", bytes(10_000))
    before = files_in(tmp_path)
    asked = Upload("final", None, parts=("part", "part"))
    with largest_file(15_000):
        assert problem_of(lambda: store.concatenate(asked, [part, part])) is errors.DISK_FULL
    assert files_in(tmp_path) == before


def test_a_concatenation_does_not_touch_the_space_that_is_to_be_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    part = complete(store, "part", b"hello")
    before = files_in(tmp_path)
    careful = store_in(tmp_path, min_free_space=2**62)
    assert problem_of(lambda: careful.concatenate(Upload("f", None, parts=("part",)), [part])) is errors.DISK_FULL
    assert files_in(tmp_path) == before


# --- adopting a file that is whole ---


def whole_file(store: FilesystemStore, data: bytes = b"hello world") -> Path:
    """The data of a session that is complete."""
    path = store.directory / ".tusd-py" / "chunks" / "data"
    path.write_bytes(data)
    return path


def adopted(size: int = 11) -> Upload:
    return Upload("abc", size, {"filename": "ü.txt"}, offset=size, created_at=5.0, file_id=FILE_ID, protocol=CHUNKS)


def is_whole(store: FilesystemStore, source: Path) -> bool:
    upload = store.load("abc")
    return upload.is_complete and Path(upload.path).samefile(source) and upload.file_id == FILE_ID


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("data", [b"hello world", b""], ids=["bytes", "empty"])
def test_an_adopted_file_becomes_an_upload_without_being_copied(
    tmp_path: Path, durability: Durability, data: bytes
) -> None:
    store = store_in(tmp_path, durability=durability)
    source = whole_file(store, data)
    created = store.adopt(adopted(len(data)), source)
    upload = store.load("abc")
    assert (upload.size, upload.offset, upload.is_complete) == (len(data), len(data), True)
    assert (upload.metadata, upload.created_at) == ({"filename": "ü.txt"}, 5.0)
    assert (upload.file_id, upload.protocol) == (FILE_ID, "chunks")
    assert created.path == upload.path == str(tmp_path / "abc")
    assert source.samefile(upload.path)
    assert sorted(files_in(tmp_path)) == [".tusd-py/chunks/data", "abc", "abc.info"]
    source.unlink()
    assert (tmp_path / "abc").read_bytes() == data


@pytest.mark.parametrize("steps", [[], ["data"], ["data", "info"]], ids=["none", "data", "info"])
@pytest.mark.parametrize("durability", DURABILITIES)
def test_an_adoption_goes_on_from_what_a_crash_left(tmp_path: Path, durability: Durability, steps: list[str]) -> None:
    store = store_in(tmp_path, durability=durability)
    source = whole_file(store)
    (tmp_path / ".tusd-py" / "workspace" / "0123456789abcdef.abc").write_bytes(b"half")
    if "data" in steps:
        (tmp_path / "abc").hardlink_to(source)
    if "info" in steps:
        store.adopt(adopted(), source)
    store.adopt(adopted(), source)
    assert is_whole(store, source)
    before = files_in(tmp_path)
    store.sweep_workspace()
    del before[".tusd-py/workspace/0123456789abcdef.abc"]
    assert files_in(tmp_path) == before


def test_an_adoption_that_dies_can_be_repeated_and_never_costs_the_file(tmp_path: Path) -> None:
    code = """
from tusd_py.core.uploads import Upload
from tusd_py.store.directories import prepare_directories
from tusd_py.store.filesystem import FilesystemStore

upload = Upload("abc", 11, offset=11, file_id="f_0123456789abcdef0123456789abcdef", protocol="chunks")


def prepare(directory):
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    (directory / ".tusd-py" / "chunks" / "data").write_bytes(b"hello world")


def operate(directory):
    store = FilesystemStore(
        directory, directory / ".tusd-py", file_mode=0o664, directory_mode=0o775, durability="each", min_free_space=0
    )
    store.adopt(upload, directory / ".tusd-py" / "chunks" / "data")
"""
    found: list[bool] = []
    for directory in outcomes_of_dying(tmp_path, code):
        store, source = store_in(directory), directory / ".tusd-py" / "chunks" / "data"
        names = {path.name for path in directory.glob("abc*")}
        assert names in (set(), {"abc"}, {"abc", "abc.info"})
        if len(found) % 2:
            store.sweep_workspace()
        found.append("abc.info" in names)
        assert "abc.info" not in names or is_whole(store, source)
        store.adopt(adopted(), source)
        store.sweep_workspace()
        assert is_whole(store, source)
        assert sorted(files_in(directory)) == [".tusd-py/chunks/data", "abc", "abc.info"]
        assert source.read_bytes() == b"hello world"
    assert set(found) == {False, True}
    assert len(found) > 5


def test_a_sweep_takes_the_name_of_an_adoption_that_died_and_not_the_file(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    source = whole_file(store)
    (tmp_path / "abc").hardlink_to(source)
    (tmp_path / ".tusd-py" / "workspace" / "0123456789abcdef.abc").write_bytes(b"half")
    store.sweep_workspace()
    assert files_in(tmp_path) == {".tusd-py/chunks/data": b"hello world"}


@pytest.mark.parametrize("there", ["upload", "data", "folder"])
def test_an_id_that_is_taken_is_not_adopted(tmp_path: Path, there: str) -> None:
    store = store_in(tmp_path)
    source = whole_file(store)
    if there == "upload":
        complete(store, "abc", b"other bytes")
    elif there == "data":
        (tmp_path / "abc").write_bytes(b"other bytes")
    else:
        (tmp_path / "abc").mkdir()
    before = files_in(tmp_path)
    assert problem_of(lambda: store.adopt(adopted(), source)) is errors.UPLOAD_EXISTS
    assert files_in(tmp_path) == before


def test_an_adoption_whose_info_file_cannot_be_published_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    source = whole_file(store)
    (tmp_path / "abc.info").symlink_to("nowhere")
    assert problem_of(lambda: store.adopt(adopted(), source)) is errors.UPLOAD_EXISTS
    assert files_in(tmp_path) == {".tusd-py/chunks/data": b"hello world"}
    assert not (tmp_path / "abc").exists()


@pytest.mark.parametrize("steps", [[], ["data"], ["data", "info"]], ids=["none", "data", "info"])
def test_an_adoption_can_be_taken_back_from_wherever_it_has_come_to(tmp_path: Path, steps: list[str]) -> None:
    store = store_in(tmp_path)
    source = whole_file(store)
    if "data" in steps:
        (tmp_path / "abc").hardlink_to(source)
    if "info" in steps:
        store.adopt(adopted(), source)
    store.withdraw_adopted(adopted(), source)
    assert files_in(tmp_path) == {".tusd-py/chunks/data": b"hello world"}
    store.adopt(adopted(), source)
    assert is_whole(store, source)


def test_an_upload_that_was_not_adopted_is_not_taken_back(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    source = whole_file(store)
    complete(store, "abc", b"hello world")
    before = files_in(tmp_path)
    store.withdraw_adopted(adopted(), source)
    assert files_in(tmp_path) == before


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        assert os.stat(directory).st_dev != os.stat(tmp_path).st_dev
        yield Path(directory)


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["same file system", "another"])
def test_an_adopted_file_is_where_a_hook_wants_it(tmp_path: Path, elsewhere: Path, is_elsewhere: bool) -> None:
    folder = elsewhere if is_elsewhere else tmp_path
    store = store_in(tmp_path)
    source, upload = whole_file(store), replace(adopted(), path=str(folder / "sub" / "file"))
    for _ in range(2):
        store.adopt(upload, source)
        loaded = store.load("abc")
        assert (loaded.path, loaded.is_complete) == (upload.path, True)
        assert [path.read_bytes() for path in (folder / "sub").iterdir()] == [b"hello world"]
    assert sorted(files_in(tmp_path / ".tusd-py")) == ["chunks/data"]
    store.withdraw_adopted(upload, source)
    assert list((folder / "sub").iterdir()) == []
    assert not (tmp_path / "abc.info").exists()
    assert source.read_bytes() == b"hello world"


def test_a_copy_of_which_a_crash_has_left_both_names_is_known_again(tmp_path: Path, elsewhere: Path) -> None:
    store = store_in(tmp_path)
    source, upload = whole_file(store), replace(adopted(), path=str(elsewhere / "file"))
    for lost in (tmp_path / "abc.info", elsewhere / "file"):
        store.adopt(upload, source)
        (elsewhere / "file.tusd-py").hardlink_to(elsewhere / "file")
        (tmp_path / "abc.info").unlink()
        lost.unlink(missing_ok=True)
        assert store.adopt(upload, source).path == str(elsewhere / "file")
        assert [path.name for path in elsewhere.iterdir()] == ["file"]
    (tmp_path / "abc.info").unlink()
    assert problem_of(lambda: store.adopt(upload, source)) is errors.UPLOAD_EXISTS, "it could be anybody's"


def test_a_file_that_is_not_there_is_not_adopted(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert problem_of(lambda: store.adopt(adopted(), tmp_path / "missing")) is errors.STORE_UNAVAILABLE
    assert files_in(tmp_path) == {}


# --- files ---


@pytest.mark.parametrize("durability", DURABILITIES)
def test_an_upload_is_given_its_file_and_nothing_else_changes(tmp_path: Path, durability: Durability) -> None:
    store = store_in(tmp_path, durability=durability)
    done(store.creating(Upload("abc", 5, {"a": "b"}, metadata_text="a Yg==", created_at=5.0)))
    upload = append(store, "abc", b"hello")
    assert store.name_file(upload, FILE_ID).file_id == FILE_ID
    named = store.load("abc")
    assert (named.file_id, named.protocol, named.metadata, named.metadata_text) == (
        FILE_ID,
        "tus",
        {"a": "b"},
        "a Yg==",
    )
    assert (named.created_at, named.is_complete) == (5.0, True)
    assert files_in(tmp_path).keys() == {"abc", "abc.info"}


def test_an_upload_of_tusd_can_be_given_a_file(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello world", MetaData={"a": "b"})
    store = store_in(tmp_path)
    store.name_file(store.load("abc"), FILE_ID)
    upload = store.load("abc")
    assert (upload.file_id, upload.metadata, upload.metadata_text) == (FILE_ID, {"a": "b"}, None)


def test_the_file_of_an_upload_is_known_when_its_bytes_are_elsewhere_until_it_is_forgotten(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    named = store.name_file(complete(store, "abc", b"hello"), FILE_ID)
    complete(store, "def", b"hello")
    Path(named.path).unlink()
    assert store.file_id_of("abc") == FILE_ID
    assert [store.file_id_of(upload_id) for upload_id in ("def", "missing", "../abc")] == [None, None, None]
    store.remove_description("abc")
    store.remove_description("abc")
    assert store.file_id_of("abc") is None
    write_as_tusd(tmp_path, "broken", b"hello", Size=-1)
    assert problem_of(lambda: store.file_id_of("broken")) is errors.INTERNAL_SERVER_ERROR


def test_a_file_has_its_bytes_if_they_are_there_in_full(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    path = tmp_path / "abc"
    assert not store.has_bytes(str(path), 0)
    path.write_bytes(b"hello")
    assert store.has_bytes(str(path), 5)
    assert not store.has_bytes(str(path), 6)
    assert not store.has_bytes(str(path), 4)
    assert not store.has_bytes(str(path / "below"), 5)
    assert problem_of(lambda: store.has_bytes(str(tmp_path / ("x" * 300)), 5)) is errors.UPLOAD_NOT_FOUND


# --- writing ---


@pytest.mark.parametrize("durability", DURABILITIES)
def test_bytes_of_an_unverified_body_count_at_once(tmp_path: Path, durability: Durability) -> None:
    store = store_in(tmp_path, durability=durability)
    done(store.creating(Upload("abc", 11)))
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        receiver = done(store.receiving(upload, descriptor, 11, hold_back=False, algorithm=None, verified=False))
        receiver.write(b"hello ")
        assert store_in(tmp_path).load("abc").offset == 6
        half = done(store.accepting(upload, descriptor, 6, verified=False))
        assert (half.offset, half.is_complete) == (6, False)
        receiver.write(b"world")
        assert done(store.accepting(half, descriptor, 11, verified=False)).is_complete


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("body", [b"world", b"wo"], ids=["completing", "on the way"])
def test_bytes_of_a_verified_body_count_only_when_accepted(tmp_path: Path, durability: Durability, body: bytes) -> None:
    store = store_in(tmp_path, durability=durability)
    done(store.creating(Upload("abc", 11)))
    append(store, "abc", b"hello ")
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        receiver = done(store.receiving(upload, descriptor, 5, hold_back=False, algorithm="sha1", verified=True))
        receiver.write(body)
        assert receiver.digest() == hashlib.sha1(body, usedforsecurity=False).digest()
        for reader in (store, store_in(tmp_path)):
            assert reader.load("abc").offset == 6
            assert reader.load("abc", descriptor).offset == 6
        done(store.accepting(upload, descriptor, 6 + len(body), verified=True))
    assert store_in(tmp_path).load("abc").offset == 6 + len(body)
    assert (tmp_path / "abc").read_bytes() == b"hello " + body


def test_a_rejected_body_leaves_no_byte(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 11)))
    append(store, "abc", b"hello ")
    before = files_in(tmp_path)
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        done(store.receiving(upload, descriptor, 5, hold_back=False, algorithm="md5", verified=True)).write(b"WRONG")
        store.reject(upload, descriptor)
    assert files_in(tmp_path) == before
    append(store, "abc", b"world")
    assert (tmp_path / "abc").read_bytes() == b"hello world"


def test_the_next_writer_cuts_off_what_a_killed_one_never_verified(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 11)))
    append(store, "abc", b"hello ")
    before = files_in(tmp_path)
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        done(store.receiving(upload, descriptor, 5, hold_back=False, algorithm="sha1", verified=True)).write(b"WRONG")
    restarted = store_in(tmp_path)
    assert restarted.load("abc").offset == 6
    assert (tmp_path / "abc").read_bytes() == b"hello WRONG", "a reader cuts nothing"
    with opened(restarted.load("abc").path) as descriptor:
        assert done(restarted.beginning("abc", descriptor)).offset == 6
    assert files_in(tmp_path) == before


def test_a_mark_without_bytes_after_it_costs_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 11)))
    append(store, "abc", b"hello ")
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        done(store.receiving(upload, descriptor, 5, hold_back=False, algorithm="sha1", verified=True))
    append(store, "abc", b"world")
    assert store.load("abc").is_complete


def test_a_body_is_not_begun_when_its_mark_finds_no_room(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 11)))
    append(store, "abc", b"hello ")
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        with largest_file(0):
            problem = problem_of(
                lambda: done(store.receiving(upload, descriptor, 5, hold_back=False, algorithm="sha1", verified=True))
            )
    assert problem is errors.DISK_FULL
    assert store.load("abc").offset == 6
    append(store, "abc", b"world")
    assert (tmp_path / "abc").read_bytes() == b"hello world"


@pytest.mark.parametrize("size", [0, 5, 3 * 1024 * 1024 + 1])
def test_the_digest_of_a_body_can_be_read_back(tmp_path: Path, size: int) -> None:
    body = os.urandom(size)
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", None)))
    append(store, "abc", b"before")
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        receiver = done(store.receiving(upload, descriptor, size, hold_back=False, algorithm=None, verified=True))
        receiver.write(body)
        assert store.digest_of_body(receiver, descriptor, "sha256") == hashlib.sha256(body).digest()


def test_bytes_that_are_gone_when_they_are_read_back_are_trouble_of_ours(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("abc", 5)))
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        receiver = done(store.receiving(upload, descriptor, 5, hold_back=False, algorithm=None, verified=True))
        receiver.write(b"hello")
        os.ftruncate(descriptor, 3)
        problem = problem_of(lambda: store.digest_of_body(receiver, descriptor, "sha1"))
    assert problem is errors.STORE_UNAVAILABLE


def test_a_declared_length_is_written_down_and_nothing_else_changes(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello", Size=0, SizeIsDeferred=True, MetaData={"filename": "x"})
    store = store_in(tmp_path)
    sized = store.declare_size(store.load("abc"), 11)
    assert (sized.size, sized.offset) == (11, 5)
    loaded = store_in(tmp_path).load("abc")
    assert (loaded.size, loaded.offset, loaded.metadata) == (11, 5, {"filename": "x"})
    info = json.loads((tmp_path / "abc.info").read_bytes())
    assert (info["Size"], info["SizeIsDeferred"], info["Offset"]) == (11, False, 5)
    assert sorted(files_in(tmp_path)) == ["abc", "abc.info"]


def test_the_newest_change_is_that_of_the_younger_file(tmp_path: Path) -> None:
    write_as_tusd(tmp_path, "abc", b"hello")
    store = store_in(tmp_path)
    os.utime(tmp_path / "abc", (1000, 1000))
    os.utime(tmp_path / "abc.info", (2000, 2000))
    assert store.load("abc").changed_at == 2000
    os.utime(tmp_path / "abc", (3000, 3000))
    assert store.load("abc").changed_at == 3000


# --- removing, listing, reading ---


def test_a_removed_upload_leaves_nothing_and_others_stay(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    complete(store, "kept", b"other")
    before = files_in(tmp_path)
    done(store.creating(Upload("abc", 11)))
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        done(store.receiving(upload, descriptor, 5, hold_back=False, algorithm="sha1", verified=True)).write(b"hello")
    store.remove(store.load("abc"))
    assert files_in(tmp_path) == before
    assert problem_of(lambda: store.load("abc")) is errors.UPLOAD_NOT_FOUND


def test_an_upload_is_removed_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    upload = complete(store, "abc", b"hello")
    store.remove(upload)
    assert problem_of(lambda: store.remove(upload)) is errors.UPLOAD_NOT_FOUND


def test_an_upload_whose_data_was_moved_away_can_be_removed(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    upload = complete(store, "abc", b"hello")
    (tmp_path / "abc").unlink()
    store.remove(upload)
    assert files_in(tmp_path) == {}


def test_all_uploads_are_listed_and_files_of_ours_are_not(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    ids = {"abc", "project/2024/report", "a.b", "ü"}
    for upload_id in ids:
        complete(store, upload_id, b"hello")
    (tmp_path / "foreign.txt").write_bytes(b"")
    (tmp_path / ".tusd-py" / "workspace" / "entry.info").write_bytes(b"")
    assert set(store.upload_ids()) == ids
    assert all(store.load(upload_id).is_complete for upload_id in store.upload_ids())


@pytest.mark.parametrize("upload_id", ["abc", "x/.y/z", "x/y.z/a"])
def test_an_upload_is_listed_if_its_id_may_be_looked_up(tmp_path: Path, upload_id: str) -> None:
    write_as_tusd(tmp_path, upload_id, b"hello")
    assert (upload_id in set(store_in(tmp_path).upload_ids())) == is_upload_id(upload_id)


def test_an_upload_is_read_through_a_descriptor_of_its_own(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    upload = complete(store, "abc", b"hello")
    descriptor = store.open_for_reading(upload)
    try:
        store.remove(upload)
        assert os.pread(descriptor, 100, 0) == b"hello"
    finally:
        os.close(descriptor)
    assert problem_of(lambda: store.open_for_reading(upload)) is errors.UPLOAD_NOT_FOUND


def test_space_that_is_to_be_kept_is_not_given_away(tmp_path: Path) -> None:
    store_in(tmp_path).check_space()
    store_in(tmp_path, min_free_space=1).check_space(1)
    assert problem_of(store_in(tmp_path, min_free_space=2**62).check_space) is errors.DISK_FULL
    assert problem_of(lambda: store_in(tmp_path).check_space(2**62)) is errors.DISK_FULL


def test_a_long_body_ends_where_the_space_that_is_to_be_kept_begins(tmp_path: Path) -> None:
    store = store_in(tmp_path, min_free_space=2**62)
    done(store.creating(Upload("abc", None)))
    with opened(store.load("abc").path) as descriptor:
        upload = done(store.beginning("abc", descriptor))
        receiver = done(store.receiving(upload, descriptor, 2**40, hold_back=False, algorithm=None, verified=False))
        assert problem_of(lambda: receiver.write(bytes(16 * 1024 * 1024))) is errors.DISK_FULL


# --- after a crash ---


def started(directory: Path, operation: str, event: str, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", OPERATE, str(directory), operation, event, str(number)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def outcomes_of_crashes(tmp_path: Path, operation: str, prepare: Callable[[FilesystemStore], object]) -> Iterator[Path]:
    """Kill an operation before each of its calls of the system in turn, and sweep: the directories as they are then.

    The last one is that of the operation that came to its end.
    """
    for number in count(1):
        directory = tmp_path / str(number)
        prepare(store_in(directory))
        with started(directory, operation, "any", number) as process:
            process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}
        store_in(directory).sweep_workspace()
        yield directory
        if process.returncode == 0:
            return


def test_a_creation_that_dies_is_whole_or_gone(tmp_path: Path) -> None:
    def prepare(store: FilesystemStore) -> None:
        complete(store, "other", b"other")
        complete(store, "new/other", b"other")

    found = []
    for directory in outcomes_of_crashes(tmp_path, "create", prepare):
        files = files_in(directory)
        others = {"other", "other.info", "new/other", "new/other.info"}
        assert others <= set(files)
        assert set(files) - others in (set(), {"new/upload", "new/upload.info"})
        found.append("new/upload" in files)
        if found[-1]:
            assert store_in(directory).load("new/upload").size == 5
        else:
            done(store_in(directory).creating(Upload("new/upload", 3)))
    assert set(found) == {False, True}
    assert len(found) > 4


def test_a_concatenation_that_dies_is_whole_or_gone(tmp_path: Path) -> None:
    found = []
    for directory in outcomes_of_crashes(tmp_path, "concatenate", lambda store: complete(store, "part", b"12345")):
        files = files_in(directory)
        assert files["part"] == b"12345"
        assert set(files) - {"part", "part.info"} in (set(), {"new/upload", "new/upload.info"})
        found.append("new/upload" in files)
        if found[-1]:
            assert files["new/upload"] == b"1234512345"
            assert store_in(directory).load("new/upload").is_complete
    assert set(found) == {False, True}
    assert len(found) > 6


def test_a_termination_that_dies_leaves_the_upload_whole_or_gone(tmp_path: Path) -> None:
    def prepare(store: FilesystemStore) -> None:
        complete(store, "project/victim", b"12345")
        complete(store, "project/other", b"other")

    found = []
    for directory in outcomes_of_crashes(tmp_path, "remove", prepare):
        files = files_in(directory)
        others = {"project/other", "project/other.info"}
        assert others <= set(files)
        assert set(files) - others in (set(), {"project/victim", "project/victim.info"})
        found.append("project/victim" in files)
        if found[-1]:
            assert store_in(directory).load("project/victim").is_complete
    assert set(found) == {False, True}


def test_a_termination_that_dies_leaves_no_data_that_is_elsewhere(tmp_path: Path) -> None:
    def prepare(store: FilesystemStore) -> None:
        complete(store, "project/victim", b"12345")
        elsewhere = store.directory.with_suffix(".elsewhere")
        elsewhere.write_bytes(b"12345")
        write_as_tusd(store.directory, "project/victim", b"", Size=5, Storage={"Path": str(elsewhere)})

    for directory in outcomes_of_crashes(tmp_path, "remove", prepare):
        assert (directory / "project/victim.info").exists() == directory.with_suffix(".elsewhere").exists()


def test_a_length_is_declared_or_not_when_that_dies(tmp_path: Path) -> None:
    def prepare(store: FilesystemStore) -> None:
        done(store.creating(Upload("open", None)))
        append(store, "open", b"123")

    sizes = set()
    for directory in outcomes_of_crashes(tmp_path, "declare", prepare):
        assert sorted(files_in(directory)) == ["open", "open.info"]
        upload = store_in(directory).load("open")
        assert upload.offset == 3
        sizes.add(upload.size)
    assert sizes == {None, 7}


def test_a_verified_body_counts_whole_or_not_at_all_when_that_dies(tmp_path: Path) -> None:
    def prepare(store: FilesystemStore) -> None:
        done(store.creating(Upload("open", 7)))
        append(store, "open", b"123")

    contents = set()
    for directory in outcomes_of_crashes(tmp_path, "patch", prepare):
        store = store_in(directory)
        offset = store.load("open").offset
        with opened(store.load("open").path) as descriptor:
            assert done(store.beginning("open", descriptor)).offset == offset
        assert sorted(files_in(directory)) == ["open", "open.info"]
        content = (directory / "open").read_bytes()
        assert len(content) == offset
        contents.add(content)
    assert contents == {b"123", b"1234567"}


def test_a_sweep_leaves_everything_that_no_crash_left(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    complete(store, "done", b"hello")
    done(store.creating(Upload("half", 5)))
    append(store, "half", b"he")
    write_as_tusd(tmp_path, "project/tusd", b"hello")
    (tmp_path / "foreign").write_bytes(b"data without an info file")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / ".tusd-py" / "unverified" / "half").write_bytes(b"1")
    before = files_in(tmp_path)
    store.sweep_workspace()
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["..%2Foutside", "%2Fetc", ".hidden", "a.info", "folder", "done%2Fbelow"])
def test_a_leftover_with_a_strange_name_removes_nothing_but_itself(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "data"
    store = store_in(directory)
    complete(store, "done", b"hello")
    (tmp_path / "outside").write_bytes(b"kept")
    (directory / "folder").mkdir()
    (directory / ".hidden").write_bytes(b"kept")
    before = files_in(tmp_path)
    (directory / ".tusd-py" / "workspace" / f"0123456789abcdef.{name}").write_bytes(b"half")
    store.sweep_workspace()
    assert files_in(tmp_path) == before
    assert (directory / "folder").is_dir()


def test_a_sweep_leaves_a_creation_that_goes_on_where_another_one_died(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / ".tusd-py" / "workspace" / "0123456789abcdef.new%2Fupload").write_bytes(b"half")
    with started(tmp_path, "create", "os.link", 1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"paused\n"
        store.sweep_workspace()
        process.communicate(b"go on\n")
    assert process.returncode == 0
    assert store.load("new/upload").offset == 0


def test_a_creation_beside_the_removal_of_its_id_is_refused_or_whole(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    done(store.creating(Upload("project/victim", 5)))
    with started(tmp_path, "remove", "os.remove", 1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"paused\n"
        try:
            done(store.creating(Upload("project/victim", 7)))
        except UploadError as error:
            created, problem = False, error.problem
        else:
            created, problem = True, errors.UPLOAD_EXISTS
        process.communicate(b"go on\n")
    assert problem is errors.UPLOAD_EXISTS
    if created:
        assert store.load("project/victim").size == 7
