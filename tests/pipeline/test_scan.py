import asyncio
import logging
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.clamav import ALERTS, MIB, SMALL, ClamAV, clamav, encrypted_zip
from tusd_py.core.records import FileRecord, Status
from tusd_py.pipeline import TryLater, scan
from tusd_py.pipeline.clamd import Clamd
from tusd_py.pipeline.probes import EICAR, Part, zipped
from tusd_py.pipeline.scan import Scan, UnsafeScanner
from tusd_py.pipeline.verdicts import LARGEST_SCANNED, Verdict
from tusd_py.service.threads import Threads

SIGNATURE = "Eicar-Test-Signature.UNOFFICIAL"


class Bench:
    """The step, on a daemon, with files to give to it."""

    def __init__(self, threads: Threads, runner: asyncio.Runner, folder: Path) -> None:
        self.threads = threads
        self.run = runner.run
        self.folder = folder

    def step(self, address: str, *, timeout: float = 60.0, answer_timeout: float = 5.0, **options: Any) -> Scan:
        clamd = Clamd(address, self.threads, timeout=timeout, answer_timeout=answer_timeout)
        return Scan(clamd, **{"retry_delay": 0.05} | options)

    def record(self, content: bytes = b"harmless", *, hole: int = 0) -> FileRecord:
        """A file of `hole` zeros and these bytes."""
        path = self.folder / "abc"
        with path.open("wb") as file:
            file.seek(hole)
            file.write(content)
        return FileRecord("f_0", "abc", str(path), "name", hole + len(content), "text/plain", "anonymous", 0.0, 0.0)

    def result(self, step: Scan, record: FileRecord) -> tuple[Status, str | None]:
        found = self.run(step.run(record))
        assert found == replace(record, status=found.status, scan_result=found.scan_result)
        return found.status, found.scan_result

    def waits(self, step: Scan, record: FileRecord) -> TryLater:
        with pytest.raises(TryLater) as raised:
            self.run(step.run(record))
        return raised.value


@pytest.fixture
def bench(threads: Threads, runner: asyncio.Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Bench:
    caplog.set_level(logging.INFO, "tusd_py")
    return Bench(threads, runner, tmp_path)


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest) -> Callable[[ClamAV], str]:
    return lambda daemon: daemon.unix if request.param == "unix" else daemon.tcp


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(f"event={event} ")]


def proofs(caplog: pytest.LogCaptureFixture) -> int:
    return len(logged(caplog, "ScannerProven"))


# --- what becomes of a file ---


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (EICAR, SIGNATURE),
        (os.urandom(5000) + EICAR + os.urandom(5000), SIGNATURE),
        (zipped(Part("a", EICAR)), SIGNATURE),
        (zipped(Part("b", zipped(Part("a", EICAR)))), SIGNATURE),
        (encrypted_zip("a", EICAR, b"secret"), "unscannable: encrypted (Zip)"),
        (encrypted_zip("a", b"harmless", b"secret"), "unscannable: encrypted (Zip)"),
        (
            zipped(Part("a", bytes(20 * MIB) + EICAR)),
            "unscannable: beyond a limit of the scanner (MaxScanSize)",
        ),
    ],
    ids=["plain", "inside", "zip", "nested zip", "encrypted zip", "clean encrypted zip", "bomb"],
)
def test_what_is_not_clean_is_quarantined(
    small: ClamAV, bench: Bench, address: Callable[[ClamAV], str], content: bytes, result: str
) -> None:
    step = bench.step(address(small))
    assert bench.result(step, bench.record(content)) == (Status.QUARANTINED, result)


@pytest.mark.parametrize("content", [b"", b"harmless", os.urandom(3 * MIB), zipped(Part("a", b"harmless"))])
def test_a_clean_file_goes_on(small: ClamAV, bench: Bench, address: Callable[[ClamAV], str], content: bytes) -> None:
    assert bench.result(bench.step(address(small)), bench.record(content)) == (Status.PROCESSING, "clean")


def test_the_end_of_a_large_file_is_scanned(large: ClamAV, bench: Bench) -> None:
    record = bench.record(EICAR, hole=50 * MIB)
    assert bench.result(bench.step(large.unix), record) == (Status.QUARANTINED, SIGNATURE)
    assert bench.result(bench.step(large.tcp), record) == (Status.QUARANTINED, SIGNATURE)


@pytest.mark.parametrize(
    ("hole", "transport", "reason"),
    [
        (9 * MIB, "unix", "beyond a limit of the scanner (MaxFileSize)"),
        (5 * MIB, "tcp", "larger than the scanner's StreamMaxLength"),
        (100 * MIB, "tcp", f"larger than can be scanned ({100 * MIB + 68} bytes, at most {100 * MIB})"),
        (LARGEST_SCANNED, "unix", f"larger than can be scanned ({LARGEST_SCANNED + 68} bytes, at most 2147483645)"),
    ],
)
def test_a_file_beyond_the_limits_is_never_clean(
    small: ClamAV, bench: Bench, hole: int, transport: str, reason: str
) -> None:
    address, record = (small.unix if transport == "unix" else small.tcp), bench.record(EICAR, hole=hole)
    result = f"unscannable: {reason}"
    assert bench.result(bench.step(address), record) == (Status.QUARANTINED, result)
    assert bench.result(bench.step(address, unscannable="pass"), record) == (Status.PROCESSING, result)


def test_an_infected_file_does_not_pass_with_the_unscannable(small: ClamAV, bench: Bench) -> None:
    step = bench.step(small.unix, unscannable="pass")
    assert bench.result(step, bench.record(EICAR)) == (Status.QUARANTINED, SIGNATURE)


def test_a_file_that_was_moved_away_is_gone(small: ClamAV, bench: Bench) -> None:
    record = bench.record()
    Path(record.path).unlink()
    assert bench.result(bench.step(small.unix), record) == (Status.GONE, None)


def test_a_file_that_cannot_be_read_waits(small: ClamAV, bench: Bench) -> None:
    record = replace(bench.record(), path=str(bench.folder))
    assert bench.waits(bench.step(small.unix), record).delay is None


# --- which scanners are believed ---


def test_a_scanner_is_proven_once(
    small: ClamAV, bench: Bench, address: Callable[[ClamAV], str], caplog: pytest.LogCaptureFixture
) -> None:
    step = bench.step(address(small))

    async def scan_at_once() -> list[FileRecord]:
        return await asyncio.gather(*(step.run(bench.record()) for _ in range(10)))

    assert {record.scan_result for record in bench.run(scan_at_once())} == {"clean"}
    assert bench.run(step.prove()).startswith("ClamAV ")
    assert proofs(caplog) == 1
    assert not logged(caplog, "ScannerLimits")
    assert step.trouble == ""


def test_stock_limits_are_not_believed(stock: ClamAV, bench: Bench, address: Callable[[ClamAV], str]) -> None:
    step = bench.step(address(stock))
    with pytest.raises(UnsafeScanner, match=r"set in clamd\.conf: AlertEncrypted yes, AlertExceedsMax yes \("):
        bench.run(step.prove())
    waits = bench.waits(step, bench.record())
    assert "AlertExceedsMax yes" in str(waits)
    assert waits.delay is not None
    assert "AlertExceedsMax yes" in step.trouble


def test_stock_limits_can_be_trusted(
    stock: ClamAV, bench: Bench, address: Callable[[ClamAV], str], caplog: pytest.LogCaptureFixture
) -> None:
    step = bench.step(address(stock), trust_limits=True)
    assert bench.run(step.prove())
    assert bench.result(step, bench.record()) == (Status.PROCESSING, "clean")
    assert bench.result(step, bench.record(EICAR)) == (Status.QUARANTINED, SIGNATURE)
    (warning,) = logged(caplog, "ScannerLimits")
    assert "an encrypted archive, archives nested too deep" in warning


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (("AlertEncrypted yes",), "AlertExceedsMax yes"),
        (("AlertExceedsMax yes",), "AlertEncrypted yes"),
        ((*ALERTS, "ScanArchive no"), "ScanArchive yes"),
    ],
)
def test_the_line_that_is_missing_is_named(bench: Bench, lines: tuple[str, ...], missing: str) -> None:
    with clamav(*lines) as daemon:
        for address in (daemon.unix, daemon.tcp):
            with pytest.raises(UnsafeScanner, match=r"clamd\.conf: .*" + missing):
                bench.run(bench.step(address).prove())


def test_encrypted_documents_are_advised_about(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with clamav("AlertEncryptedArchive yes", "AlertExceedsMax yes") as daemon:
        bench.run(bench.step(daemon.unix).prove())
    (warning,) = logged(caplog, "ScannerLimits")
    assert "(an encrypted document)" in warning


@pytest.mark.parametrize("trust_limits", [True, False])
def test_a_scanner_that_does_not_find_eicar_is_never_believed(own: ClamAV, bench: Bench, trust_limits: bool) -> None:
    own.write_signatures(2, eicar=False)
    own.restart()
    step = bench.step(own.unix, trust_limits=trust_limits)
    with pytest.raises(UnsafeScanner, match="does not find the EICAR test file"):
        bench.run(step.prove())
    bench.waits(step, bench.record())


# --- a scanner that is away, or not what it was ---


def test_files_wait_while_the_scanner_is_away(
    own: ClamAV, bench: Bench, address: Callable[[ClamAV], str], caplog: pytest.LogCaptureFixture
) -> None:
    step, record = bench.step(address(own)), bench.record()
    assert bench.result(step, record) == (Status.PROCESSING, "clean")
    own.stop()
    for _ in range(3):
        delay = bench.waits(step, record).delay
        assert delay is not None
        assert delay <= 0.05
        assert step.trouble
        time.sleep(delay)
    with pytest.raises(TryLater):
        bench.run(step.prove())
    own.start()
    time.sleep(0.05)
    assert bench.result(step, record) == (Status.PROCESSING, "clean")
    assert step.trouble == ""
    assert proofs(caplog) == 2


def test_retries_are_never_more_than_ten_seconds_apart(bench: Bench) -> None:
    step = Scan(Clamd("unix:/nowhere", bench.threads))
    delay = bench.waits(step, bench.record()).delay
    assert delay is not None
    assert 0 < delay <= 5
    assert bench.waits(step, bench.record()).delay is not None


def test_a_scanner_that_is_away_is_asked_once_for_all_files(own: ClamAV, bench: Bench) -> None:
    step, record = bench.step(own.unix, answer_timeout=0.3, retry_delay=600.0), bench.record()
    own.pause()

    async def scan_all() -> list[FileRecord | BaseException]:
        return await asyncio.gather(*(step.run(record) for _ in range(200)), return_exceptions=True)

    started = time.monotonic()
    outcomes = bench.run(scan_all())
    assert {type(outcome) for outcome in outcomes} == {TryLater}
    assert time.monotonic() - started < 200 * 0.3 / 2


def test_new_signatures_are_tried_out(own: ClamAV, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    step, record = bench.step(own.unix), bench.record()
    bench.run(step.prove())
    own.write_signatures(2)
    own.reload()
    bench.waits(step, record)  # the first verdict of the new ones came before they were proven
    assert bench.result(step, record) == (Status.PROCESSING, "clean")
    assert [event.split("/")[1] for event in logged(caplog, "ScannerProven")] == ["1", "2"]


def test_signatures_that_do_not_know_eicar_stop_everything(own: ClamAV, bench: Bench) -> None:
    step, record = bench.step(own.unix), bench.record(EICAR)
    bench.run(step.prove())
    own.write_signatures(2, eicar=False)
    own.restart()
    for _ in range(3):
        assert "does not find the EICAR test file" in str(bench.waits(step, record))
    own.write_signatures(3)
    own.restart()
    time.sleep(0.05)
    assert bench.result(step, record) == (Status.QUARANTINED, SIGNATURE)


def test_a_verdict_of_a_scanner_that_changed_meanwhile_does_not_count(own: ClamAV, bench: Bench) -> None:
    class Changing(Clamd):
        async def scan(self, path: str) -> Verdict:
            verdict = await super().scan(path)
            own.write_signatures(2)
            own.restart()
            return verdict

    waits = bench.waits(Scan(Changing(own.unix, bench.threads)), bench.record())
    assert waits.delay == 0


def test_a_restart_with_other_limits_is_noticed_in_time(
    own: ClamAV, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = bench.step(own.unix)
    bench.run(step.prove())
    own.configure()
    own.restart()
    monkeypatch.setattr(scan, "PROOF_LIFETIME", 0.0)
    assert "AlertExceedsMax yes" in str(bench.waits(step, bench.record()))
    own.configure(*SMALL)
    own.restart()
    time.sleep(0.05)
    assert bench.result(step, bench.record()) == (Status.PROCESSING, "clean")


def test_a_scanner_that_hangs_keeps_no_file_for_ever(
    own: ClamAV, bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clamd, record = Clamd(own.unix, bench.threads), bench.record()
    step = Scan(clamd, retry_delay=0.05)
    bench.run(step.prove())
    own.pause()
    with monkeypatch.context() as hasty:
        hasty.setattr(clamd, "_timeout", 0.5)
        hasty.setattr(clamd, "_answer_timeout", 0.2)
        assert bench.waits(step, record).delay is None  # it may be this file that it hangs over
        assert bench.waits(step, record).delay is not None  # it hangs anyway
    own.resume()
    time.sleep(0.05)
    assert bench.result(step, record) == (Status.PROCESSING, "clean")
    assert proofs(caplog) == 2


def test_trouble_is_logged_once(own: ClamAV, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    own.stop()
    step = bench.step(own.unix, retry_delay=0.0)
    for _ in range(5):
        bench.waits(step, bench.record())
    assert len(logged(caplog, "ScannerTrouble")) == 1


# --- what the tests rest on ---


def test_the_encrypted_archive_of_these_tests_is_one(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(encrypted_zip("a", b"harmless", b"secret"))
    with zipfile.ZipFile(path) as archive:
        assert archive.read("a", b"secret") == b"harmless"
        with pytest.raises(RuntimeError, match="password"):
            archive.read("a")
