"""Calls on disk: their order, their claims, and what a killed process leaves."""

import fcntl
import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hooks.calls import call_about
from tests.store.dying import outcomes_of_crashes
from tusd_py.core.errors import UploadError
from tusd_py.core.hook_events import Event, HookCall
from tusd_py.hooks.fresh import FreshCalls
from tusd_py.hooks.outbox import Claim, Line, Outbox


def outbox(directory: Path) -> Outbox:
    return Outbox(directory / "hooks", durable=False)


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def claimed(box: Outbox, line: Line) -> Claim:
    claim = box.claim(line)
    assert isinstance(claim, Claim)
    return claim


def let_time_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def test_a_call_is_a_file_for_every_back_end_that_only_we_can_read(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    call = call_about("a/b")
    assert [line.backend for line in box.add(call, call, ["http", "python"])] == ["http", "python"]
    assert len(files(tmp_path)) == 2
    for path in files(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for folder in (path.parent, path.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert box.count() == 2


def test_calls_of_a_line_come_in_their_order(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    for number in range(5):
        (line,) = box.add(call_about(call_id=str(number)), call_about(), ["http"])
    for number in range(5):
        claim = claimed(box, line)
        assert claim.call.id == str(number)
        box.settle(claim)
        claim.release()
    assert box.claim(line) is None
    assert files(tmp_path) == []
    assert box.count() == 0


def test_the_order_outlives_a_clock_that_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = outbox(tmp_path)
    box.add(call_about(call_id="first"), call_about(), ["http"])
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    (line,) = box.add(call_about(call_id="second"), call_about(), ["http"])
    assert claimed(box, line).call.id == "first"


def test_lines_of_other_uploads_and_back_ends_go_their_own_way(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    for upload, backends in (("a", ["x", "y/z"]), ("b", ["x"])):
        box.add(call_about(upload), call_about(upload), backends)
    lines = box.lines()
    assert sorted(line.backend for line in lines) == ["x", "x", "y/z"]
    assert len({line.key for line in lines}) == 2
    assert {claimed(box, line).call.upload.id for line in lines} == {"a", "b"}


def test_a_claim_is_for_one(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    (line,) = box.add(call_about(), call_about(), ["http"])
    claim = claimed(box, line)
    assert box.claim(line) == 0.25
    claim.release()
    claimed(box, line).release()


def test_another_process_leaves_a_new_call_to_who_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = outbox(tmp_path).add(call_about(), call_about(), ["http"])
    other = Outbox(tmp_path / "hooks", durable=False, head_start=600.0)
    assert other.claim(line) == 0.25  # then it is looked at again
    let_time_pass(monkeypatch, 600)
    assert claimed(other, line).call == call_about()


def test_what_is_kept_is_not_what_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = outbox(tmp_path)
    whole = call_about(header={"Authorization": ["secret"], "Accept": ["*/*"]})
    kept = call_about(header={"Accept": ["*/*"]})
    (line,) = box.add(whole, kept, ["http"])
    assert claimed(box, line).call == whole
    assert b"secret" not in files(tmp_path)[0].read_bytes()
    let_time_pass(monkeypatch, 5)
    assert b"secret" not in repr(claimed_by_another(tmp_path, line)).encode()


def claimed_by_another(directory: Path, line: Line) -> HookCall:
    """As it is found when the process that made it, with its claim, is gone."""
    (path,) = files(directory)
    copy = path.read_bytes()
    path.unlink()
    path.write_bytes(copy)
    return claimed(outbox(directory), line).call


def test_a_failure_is_written_down_and_the_next_attempt_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = outbox(tmp_path)
    (line,) = box.add(call_about(), call_about(), ["http"])
    for attempt in range(3):
        claim = claimed(box, line)
        assert claim.failed_attempts == attempt
        box.postpone(claim, f"down {attempt} " + "x" * 1000, 10.0)
        claim.release()
        wait = box.claim(line)
        assert isinstance(wait, float)
        assert 9 < wait < 10.1
        let_time_pass(monkeypatch, 10.1)
    _, *failures = files(tmp_path)[0].read_text().splitlines()
    assert [json.loads(failure)["error"][:6] for failure in failures] == ["down 0", "down 1", "down 2"]
    assert all(len(json.loads(failure)["error"]) == 500 for failure in failures)


def test_half_a_failure_counts_as_one_that_is_due(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    (line,) = box.add(call_about(), call_about(), ["http"])
    with files(tmp_path)[0].open("ab") as file:
        file.write(b'{"failed": 17, "ret')
    assert claimed(box, line).failed_attempts == 1


def test_a_call_that_is_given_up_is_put_aside_with_its_story(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    for call_id in ("first", "second"):
        (line,) = box.add(call_about(call_id=call_id), call_about(call_id=call_id), ["http"])
    claim = claimed(box, line)
    box.bury(claim, "for ever down")
    claim.release()
    (dead,) = files(tmp_path / "hooks" / "dead")
    call, failure = dead.read_text().splitlines()
    assert json.loads(call)["CallID"] == "first"
    assert json.loads(failure)["error"] == "for ever down"
    assert stat.S_IMODE(dead.stat().st_mode) == 0o600
    assert claimed(box, line).call.id == "second"
    assert box.count() == 1


@pytest.mark.parametrize("text", [b"", b"garbage\n", b"{}\n", b'{"CallID":"1","Type":"no-event"}'])
def test_a_file_that_cannot_be_read_holds_nobody_up(tmp_path: Path, text: bytes) -> None:
    box = outbox(tmp_path)
    box.add(call_about(call_id="first"), call_about(), ["http"])
    (line,) = box.add(call_about(call_id="second"), call_about(), ["http"])
    files(tmp_path)[0].write_bytes(text)
    assert claimed(box, line).call.id == "second"
    assert len(files(tmp_path / "hooks" / "dead")) == 1


def test_a_call_that_somebody_removed_is_gone(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    (line,) = box.add(call_about(), call_about(), ["http"])
    claim = claimed(box, line)
    files(tmp_path)[0].unlink()
    box.settle(claim)
    box.bury(claim, "down")
    claim.release()
    assert box.claim(line) is None


def test_only_abandoned_files_in_the_making_are_removed(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.add(call_about(), call_about(), ["http"])
    shard = files(tmp_path)[0].parent
    for name, age in ((".old", 4000), (".new", 0), (".locked", 4000), ("somebody's", 4000)):
        (shard / name).write_bytes(b"")
        os.utime(shard / name, (time.time() - age,) * 2)
    with (shard / ".locked").open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        assert len(box.lines()) == 1
    assert {path.name for path in files(tmp_path)} > {".new", ".locked", "somebody's"}
    assert not (shard / ".old").exists()


def test_a_directory_that_cannot_be_written_is_trouble_of_ours(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    (tmp_path / "hooks").rename(tmp_path / "elsewhere")
    with pytest.raises(UploadError) as caught:
        box.add(call_about(), call_about(), ["http"])
    assert caught.value.problem.status == 503


# --- crashes ---

ADD = """
from tests.hooks.calls import call_about
from tusd_py.hooks.outbox import Outbox


def prepare(directory):
    Outbox(directory, durable=True)


def operate(directory):
    Outbox(directory, durable=True).add(call_about(), call_about(), ["http"])
"""

DELIVER = """
from tests.hooks.calls import call_about
from tusd_py.hooks.outbox import Outbox


def prepare(directory):
    pass


def operate(directory):
    box = Outbox(directory, durable=True)
    (line,) = box.add(call_about(), call_about(), ["http"])
    claim = box.claim(line)
    box.END
    claim.release()
"""


def calls_left(directory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many calls a process finds that comes later; none is half one."""
    with monkeypatch.context() as later:
        let_time_pass(later, 3600 * 2)
        box = Outbox(directory, durable=False)
        lines = box.lines()
        assert all(claimed(box, line).call == call_about() for line in lines)
        assert not [path for path in files(directory) if path.name.startswith(".")]
    return len(lines)


def test_a_call_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [calls_left(directory, monkeypatch) for directory in outcomes_of_crashes(tmp_path / "crashes", ADD)]
    assert left == sorted(left)
    assert left[0] == 0
    assert left[-1] == 1


@pytest.mark.parametrize(("end", "dead"), [("settle(claim)", 0), ("bury(claim, 'down')", 1)])
def test_a_call_is_not_lost_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, dead: int
) -> None:
    seen = []
    for directory in outcomes_of_crashes(tmp_path / "crashes", DELIVER.replace("END", end)):
        seen.append((calls_left(directory, monkeypatch), len(files(directory / "dead"))))
    added = seen.index((1, 0))
    assert set(seen[:added]) == {(0, 0)}
    assert set(seen[added:]) == {(1, 0), (0, dead)}
    assert seen[-1] == (0, dead)


# --- memory ---


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    fresh = FreshCalls(most_bytes=3000)
    for number in range(20):
        fresh.add(str(number), replace(call_about(), id=str(number)))
    assert "19" in fresh
    assert "0" not in fresh
    call = fresh.get("19")
    assert call is not None
    assert call.id == "19"
    fresh.remove("19")
    fresh.remove("19")
    assert fresh.get("19") is None


def test_one_that_is_too_large_is_not_remembered() -> None:
    fresh = FreshCalls(most_bytes=10)
    fresh.add("a", call_about(event=Event.POST_CREATE))
    assert "a" not in fresh
