import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import magic
import pytest

from tests.pipeline.corpus import SCRIPT, Sample, corpus, encoded, picture, program
from tests.pipeline.processes import child_pids, has_ended, open_files, wait_until
from tusd_py.core.chunks import DEFAULT_TYPES
from tusd_py.core.headers import media_type
from tusd_py.core.records import FileRecord, Status
from tusd_py.core.types import OCTET_STREAM
from tusd_py.pipeline import TryLater, detect
from tusd_py.pipeline.child import Limits
from tusd_py.pipeline.detect import Detect, Detector, libmagic_problem
from tusd_py.service.threads import Threads

MIB = 1024 * 1024
PNG = encoded(picture(30, 20), "PNG")
LIMITS = Limits(memory=256 * MIB, cpu_seconds=10, seconds=60.0, answer=1024)


class Bench:
    """A detector, and files to give to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runner = asyncio.Runner()
        self.threads = Threads("detect", 4)
        self.detector = Detector(self.threads)
        self.others = child_pids()

    def children(self) -> list[int]:
        return [pid for pid in child_pids() if pid not in self.others]

    def record(self, content: bytes, claim: str) -> FileRecord:
        path = self.folder / "file"
        path.write_bytes(content)
        return FileRecord("f_0", "abc", str(path), "name", len(content), claim, "anonymous", 0.0, 0.0)

    def result(self, record: FileRecord, *allowed_types: str) -> FileRecord:
        found = self.runner.run(Detect(self.detector, allowed_types).run(record))
        assert found == replace(
            record, status=found.status, scan_result=found.scan_result, detected_type=found.detected_type
        )
        return found

    def replace_job(self, monkeypatch: pytest.MonkeyPatch, line: str, limits: Limits) -> None:
        """From now on the child does this with a file."""
        job = self.folder / "job.py"
        job.write_text(f"import os, time\ndef job(descriptor, head):\n    {line}\n")
        monkeypatch.setattr(detect, "_JOB", job)
        self.detector = Detector(self.threads, limits=limits)

    def close(self) -> None:
        self.runner.run(self.detector.close())
        self.threads.close()
        self.runner.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("detect"))
    yield bench
    bench.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()
    assert not bench.children()


# --- what becomes of files ---


@pytest.mark.parametrize("sample", corpus(), ids=lambda sample: sample.kind)
def test_honest_files_pass_and_liars_do_not(shared: Bench, sample: Sample) -> None:
    record = shared.record(sample.content, sample.claim)
    found = shared.result(record)
    if magic.version() == 544:  # type: ignore[no-untyped-call]
        assert found.detected_type == sample.detected
    if sample.honest:
        assert (found.status, found.scan_result) == (Status.PROCESSING, None)
    else:
        claim, detected = media_type(sample.claim), found.detected_type
        assert (found.status, found.scan_result) == (
            Status.QUARANTINED,
            f"type: the file is called {claim} and is {detected}",
        )
    allowed = shared.result(record, *DEFAULT_TYPES)
    is_on_the_list = not sample.content or media_type(sample.claim) in (
        *DEFAULT_TYPES,
        *("image/jpg", "application/x-zip-compressed"),
    )
    is_allowed = sample.honest and (is_on_the_list or sample.detected in DEFAULT_TYPES)
    assert allowed.status == (Status.PROCESSING if is_allowed else Status.QUARANTINED)


@pytest.mark.parametrize(
    ("content", "detected"),
    [(program(), "application/x-executable"), (SCRIPT.encode(), "text/x-shellscript"), (b"\0\1\2\3", OCTET_STREAM)],
)
def test_without_a_claim_the_list_decides(shared: Bench, content: bytes, detected: str) -> None:
    record = shared.record(content, OCTET_STREAM)
    assert shared.result(record).status is Status.PROCESSING
    found = shared.result(record, *DEFAULT_TYPES)
    assert (found.status, found.detected_type, found.scan_result) == (
        Status.QUARANTINED,
        detected,
        f"type: the file is {detected}, which is not allowed",
    )
    assert shared.result(record, *DEFAULT_TYPES, detected).status is Status.PROCESSING


def test_libmagic_sees_more_than_the_first_bytes(shared: Bench) -> None:
    disc = bytes(0x8001) + b"CD001\1" + bytes(4096)
    assert shared.result(shared.record(disc, OCTET_STREAM)).detected_type == "application/x-iso9660-image"


def test_a_file_can_be_looked_at_again(shared: Bench) -> None:
    found = shared.result(shared.record(PNG, "image/png"))
    assert shared.result(replace(found, detected_type="image/jpeg")) == found


def test_a_file_that_was_taken_away_is_gone(shared: Bench) -> None:
    record = shared.record(PNG, "image/png")
    os.unlink(record.path)
    assert shared.result(record).status is Status.GONE


def test_a_file_that_cannot_be_read_waits(shared: Bench) -> None:
    record = replace(shared.record(PNG, "image/png"), path=str(shared.folder))
    with pytest.raises(TryLater, match="cannot be read"):
        shared.result(record)


def test_what_was_made_to_cost_time_costs_little(shared: Bench) -> None:
    assert shared.result(shared.record(b"\n" * MIB, "text/plain")).status is Status.PROCESSING


def test_many_files_at_once_are_looked_at_by_one_process(own: Bench) -> None:
    async def all_of_them() -> list[FileRecord]:
        step = Detect(own.detector)
        return await asyncio.gather(*(step.run(record) for record in records))

    records = [own.record(PNG, "image/png")] * 20
    assert {found.detected_type for found in own.runner.run(all_of_them())} == {"image/png"}
    assert len(own.children()) == 1


# --- trouble ---


def test_a_detector_that_was_killed_is_started_again(own: Bench) -> None:
    record = own.record(PNG, "image/png")
    own.result(record)
    (pid,) = own.children()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid))
    assert own.result(record).detected_type == "image/png"
    assert own.children() != [pid]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("os.abort()", "the process ended with SIGABRT"),
        ("while True: pass", "it took more than 0 s of processor time"),
        ("bytearray(2 ** 30)", "it needs too much memory"),
    ],
    ids=["crash", "work without end", "memory"],
)
def test_a_file_that_the_detector_does_not_survive_is_quarantined(
    own: Bench, monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    own.replace_job(monkeypatch, line, replace(LIMITS, cpu_seconds=0))
    found = own.result(own.record(PNG, "image/png"))
    assert (found.status, found.detected_type) == (Status.QUARANTINED, None)
    assert found.scan_result == f"type: the detector failed on the file: {reason}"


@pytest.mark.parametrize(
    ("line", "seconds", "reason"),
    [
        ("os.kill(os.getpid(), 9)", 60.0, "the detector failed: the process ended with SIGKILL"),
        ("time.sleep(600)", 0.5, "the detector failed: it was not done after 0.5 s"),
    ],
    ids=["killed", "hangs"],
)
def test_what_need_not_be_the_files_fault_lets_it_wait(
    own: Bench, monkeypatch: pytest.MonkeyPatch, line: str, seconds: float, reason: str
) -> None:
    own.replace_job(monkeypatch, line, replace(LIMITS, seconds=seconds))
    with pytest.raises(TryLater, match=reason) as raised:
        own.result(own.record(PNG, "image/png"))
    assert raised.value.delay is None
    assert not own.children()


def test_nothing_is_left_of_a_detection_that_is_cancelled(own: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(own.detector.detect(path))
        await asyncio.sleep(0.3)
        task.cancel()
        await task

    path = own.record(PNG, "image/png").path
    own.replace_job(monkeypatch, "time.sleep(600)", LIMITS)
    with pytest.raises(asyncio.CancelledError):
        own.runner.run(cancel())
    assert not own.children()
    assert path not in open_files()


# --- without libmagic ---


@pytest.fixture
def no_libmagic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this process nor a child can import it."""
    (tmp_path / "magic.py").write_text("raise ImportError('failed to find libmagic.  Check your installation')")
    monkeypatch.delitem(sys.modules, "magic")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_libmagic_is_here() -> None:
    assert libmagic_problem() is None


@pytest.mark.usefixtures("no_libmagic")
def test_without_libmagic_the_problem_names_the_package_to_install() -> None:
    problem = libmagic_problem()
    assert problem is not None
    assert "failed to find libmagic" in problem
    assert "apt-get install libmagic1" in problem


@pytest.mark.usefixtures("no_libmagic")
def test_without_libmagic_files_wait_and_an_empty_one_does_not(own: Bench) -> None:
    with pytest.raises(TryLater, match="apt-get install libmagic1") as raised:
        own.result(own.record(PNG, "image/png"))
    assert raised.value.delay
    assert own.result(own.record(b"", "image/png")).detected_type == "application/x-empty"


def test_another_package_of_that_name_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "magic", ModuleType("magic"))
    assert "python-magic" in (libmagic_problem() or "")


def test_no_database_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGIC", "/nowhere/magic")
    assert "libmagic-mgc" in (libmagic_problem() or "")


def test_the_step_can_be_imported_without_libmagic(tmp_path: Path) -> None:
    (tmp_path / "magic.py").write_text("raise ImportError")
    line = "import tusd_py.pipeline.detect as detect, sys; assert 'magic' not in sys.modules; detect.libmagic_problem()"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", line], env=environment, check=True)
