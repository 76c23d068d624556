import fcntl
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tusd_py.store.workspace import Workspace, flat_name

HOLD_AN_ENTRY = """
import sys
from pathlib import Path
from tusd_py.store.workspace import Workspace
with Workspace(Path(sys.argv[1]), 0o600).entry("abc"):
    print("made", flush=True)
    sys.stdin.read()
"""


def swept(workspace: Workspace) -> list[tuple[str, bytes | None]]:
    """The operations that had died: the upload of each, and the file that it had withdrawn."""
    found: list[tuple[str, bytes | None]] = []
    workspace.sweep(lambda upload_id, withdrawn: found.append((upload_id, withdrawn)))
    return found


@pytest.mark.parametrize("upload_id", ["abc", "a/b", "a.b", "ü %2F", "a" * 200])
def test_an_id_is_one_file_name(upload_id: str) -> None:
    name = flat_name(upload_id)
    assert name
    assert "/" not in name
    assert len(name.encode()) <= 200


@pytest.mark.parametrize("upload_id", ["a" * 201, "ü" * 34, "/" * 67], ids=["plain", "umlauts", "slashes"])
def test_an_id_that_is_too_long_for_a_file_name_has_none(upload_id: str) -> None:
    assert flat_name(upload_id) == ""


def test_a_linked_entry_appears_whole_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    with Workspace(tmp_path / "workspace", 0o600).entry("abc") as entry:
        entry.write(b"hello", durable=True)
        assert not (tmp_path / "abc").exists()
        entry.link(tmp_path / "abc")
    assert (tmp_path / "abc").read_bytes() == b"hello"
    assert stat.S_IMODE((tmp_path / "abc").stat().st_mode) == 0o600
    assert list((tmp_path / "workspace").iterdir()) == []


def test_linking_never_takes_the_place_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "abc").write_bytes(b"first")
    with Workspace(tmp_path / "workspace", 0o640).entry("abc") as entry:
        entry.write(b"second", durable=False)
        with pytest.raises(FileExistsError):
            entry.link(tmp_path / "abc")
    assert (tmp_path / "abc").read_bytes() == b"first"
    assert list((tmp_path / "workspace").iterdir()) == []


def test_replacing_does(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "abc").write_bytes(b"first")
    with Workspace(tmp_path / "workspace", 0o640).entry("abc") as entry:
        entry.write(b"second", durable=False)
        entry.replace(tmp_path / "abc")
    assert (tmp_path / "abc").read_bytes() == b"second"
    assert list((tmp_path / "workspace").iterdir()) == []


def test_an_entry_of_an_operation_that_failed_is_gone(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match="failed"), Workspace(tmp_path, 0o600).entry("abc"):
        raise ValueError("failed")
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_withdrawn_file_has_no_name_and_is_gone_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    published = tmp_path / "abc.info"
    published.write_bytes(b"{}")
    with Workspace(tmp_path / "workspace", 0o600).withdraw(published, "abc"):
        assert not published.exists()
        assert len(list((tmp_path / "workspace").iterdir())) == 1
    assert list((tmp_path / "workspace").iterdir()) == []


def test_a_file_that_is_not_there_cannot_be_withdrawn(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    workspace = Workspace(tmp_path / "workspace", 0o600)
    with pytest.raises(FileNotFoundError), workspace.withdraw(tmp_path / "abc.info", "abc"):
        pass
    assert list((tmp_path / "workspace").iterdir()) == []


def test_a_withdrawal_that_failed_is_ended_by_the_next_sweep(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    published = tmp_path / "abc.info"
    published.write_bytes(b"{}")
    workspace = Workspace(tmp_path / "workspace", 0o600)
    with pytest.raises(ValueError, match="failed"), workspace.withdraw(published, "abc"):
        raise ValueError("failed")
    assert swept(workspace) == [("abc", b"{}")]
    assert not published.exists()
    assert list((tmp_path / "workspace").iterdir()) == []


@pytest.mark.parametrize("upload_id", ["abc", "a/b.c", "ü %2F"])
def test_a_sweep_removes_what_a_killed_process_left_and_tells_its_upload(tmp_path: Path, upload_id: str) -> None:
    (tmp_path / f"0123456789abcdef.{flat_name(upload_id)}").write_bytes(b"half")
    assert swept(Workspace(tmp_path, 0o600)) == [(upload_id, None)]
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_removes_an_entry_whose_upload_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "0123456789abcdef.").write_bytes(b"half")
    assert swept(Workspace(tmp_path, 0o600)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_leaves_entries_that_are_worked_on_in_this_process(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, 0o600)
    with workspace.entry("abc") as entry:
        assert swept(workspace) == []
        assert Path(entry.path).exists()


def test_a_sweep_leaves_entries_of_a_live_process_and_takes_those_of_a_killed_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD_AN_ENTRY, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        assert swept(Workspace(tmp_path, 0o600)) == []
        assert len(list(tmp_path.iterdir())) == 1
        process.kill()
        process.wait()
    assert swept(Workspace(tmp_path, 0o600)) == [("abc", None)]
    assert list(tmp_path.iterdir()) == []


def test_entries_can_be_made_while_others_sweep(tmp_path: Path) -> None:
    """A sweep may take an entry between its making and its locking; then it is made again, so every link works."""
    (tmp_path / "workspace").mkdir()
    workspace = Workspace(tmp_path / "workspace", 0o600)
    done = threading.Event()
    made: list[int] = []

    def sweep() -> None:
        while not done.is_set():
            swept(workspace)

    def make(worker: int) -> None:
        for number in range(200):
            with workspace.entry("abc") as entry:
                entry.write(b"x", durable=False)
                entry.link(tmp_path / f"{worker}-{number}")
                made.append(number)

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    makers = [threading.Thread(target=make, args=(worker,)) for worker in range(2)]
    for thread in sweepers + makers:
        thread.start()
    for thread in makers:
        thread.join()
    done.set()
    for thread in sweepers:
        thread.join()
    assert len(made) == 400
    assert list((tmp_path / "workspace").iterdir()) == []


def test_what_comes_to_its_end_while_others_sweep_is_no_trace_of_a_crash(tmp_path: Path) -> None:
    """A sweep may meet the last moment of an operation: open its entry, and get the lock when that is gone."""
    (tmp_path / "workspace").mkdir()
    workspace = Workspace(tmp_path / "workspace", 0o600)
    done = threading.Event()

    def sweep() -> list[tuple[str, bytes | None]]:
        found = []
        while not done.is_set():
            found += swept(workspace)
        return found

    def withdraw(worker: int) -> None:
        published = tmp_path / f"{worker}.info"
        for _ in range(1000):
            published.write_bytes(b"{}")
            with workspace.withdraw(published, "abc"):
                pass

    with ThreadPoolExecutor() as pool:
        sweeping = [pool.submit(sweep) for _ in range(2)]
        try:
            list(pool.map(withdraw, range(2)))
        finally:
            done.set()
        assert [found for each in sweeping for found in each.result()] == []
    assert list((tmp_path / "workspace").iterdir()) == []


def test_an_entry_is_locked_against_other_openings(tmp_path: Path) -> None:
    entries = Workspace(tmp_path, 0o600).entry("abc")
    with entries as entry, Path(entry.path).open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
