import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.pipeline.clamav import MIB, ClamAV
from tests.running import DEADLINE, eventually
from tusd_py.pipeline.clamd import Clamd, Unreachable, parse_address
from tusd_py.pipeline.probes import EICAR
from tusd_py.pipeline.verdicts import CLEAN, LARGEST_SCANNED, Finding, NoVerdict, Verdict, unscannable
from tusd_py.service.threads import Threads

FOUND = Verdict(Finding.INFECTED, "Eicar-Test-Signature.UNOFFICIAL")

Serve = Callable[[socket.socket], None]


@pytest.fixture(params=["unix", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def address_of(daemon: ClamAV, transport: str) -> str:
    return daemon.unix if transport == "unix" else daemon.tcp


def sparse(path: Path, size: int, end: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - len(end))
        file.write(end)
    return path


@contextmanager
def listening(serve: Serve) -> Iterator[str]:
    """Something that is no clamd; its address."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)


def saying(answer: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(answer)

    return serve


@pytest.mark.parametrize(
    ("text", "path", "host", "port"),
    [
        ("unix:/run/clamav/clamd.ctl", "/run/clamav/clamd.ctl", "", 0),
        ("unix:///run/clamd.ctl", "/run/clamd.ctl", "", 0),
        ("tcp://localhost:1234", "", "localhost", 1234),
        ("tcp://127.0.0.1", "", "127.0.0.1", 3310),
        ("tcp://[::1]:3310", "", "::1", 3310),
    ],
)
def test_an_address_is_a_path_or_a_host_and_port(text: str, path: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert (address.text, address.path, address.host, address.port) == (text, path, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/run/clamd.ctl",
        "unix:",
        "unix:run/clamd.ctl",
        "tcp://",
        "tcp://:3310",
        "tcp://host:port",
        "tcp://host:99999",
        "tcp://host:1/x",
        "tcp:host",
        "http://host:1",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be unix:/path or tcp://host:port"):
        parse_address(text)


def test_files_are_scanned(
    small: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, transport: str
) -> None:
    clamd = Clamd(address_of(small, transport), threads)
    path = tmp_path / "with a\nnewline"
    for content, verdict in ((b"", CLEAN), (b"harmless", CLEAN), (EICAR, FOUND), (os.urandom(3 * MIB) + EICAR, FOUND)):
        path.write_bytes(content)
        path.chmod(0o600)
        assert runner.run(clamd.scan(str(path))) == verdict


def test_the_version_names_the_signatures(
    small: ClamAV, threads: Threads, runner: asyncio.Runner, transport: str
) -> None:
    version = runner.run(Clamd(address_of(small, transport), threads).version())
    assert version.startswith("ClamAV ")
    assert "/1/" in version


def test_many_files_are_scanned_at_once(
    large: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, transport: str
) -> None:
    clamd = Clamd(address_of(large, transport), threads)
    for number in range(40):
        content = os.urandom(100_000) + (EICAR if number % 2 else b"")
        (tmp_path / str(number)).write_bytes(content)

    async def scan_all() -> list[Verdict]:
        return await asyncio.gather(*(clamd.scan(str(tmp_path / str(number))) for number in range(40)))

    assert runner.run(scan_all()) == [CLEAN, FOUND] * 20


@pytest.mark.parametrize("size", [LARGEST_SCANNED + 1, 3 * 1024 * MIB])
def test_files_too_large_for_the_engine_are_not_asked_about(
    threads: Threads, runner: asyncio.Runner, tmp_path: Path, size: int
) -> None:
    path = sparse(tmp_path / "large", size)
    verdict = runner.run(Clamd("unix:/nowhere", threads).scan(str(path)))
    assert verdict == unscannable(f"larger than can be scanned ({size} bytes, at most {LARGEST_SCANNED})")


def test_files_too_large_to_be_sent_are_not_asked_about(
    threads: Threads, runner: asyncio.Runner, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "large", 1001)
    verdict = runner.run(Clamd("tcp://127.0.0.1:1", threads, stream_limit=1000).scan(str(path)))
    assert verdict == unscannable("larger than can be scanned (1001 bytes, at most 1000)")


@pytest.mark.parametrize("size", [5 * MIB, 7 * MIB, 90 * MIB])
def test_the_answer_is_read_when_clamd_wants_no_more(
    small: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, size: int
) -> None:
    path = sparse(tmp_path / "large", size)
    verdict = runner.run(Clamd(small.tcp, threads).scan(str(path)))
    assert verdict == unscannable("larger than the scanner's StreamMaxLength")


def test_what_clamd_may_not_scan_is_unscannable(
    small: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "large", 9 * MIB, EICAR)
    verdict = runner.run(Clamd(small.unix, threads).scan(str(path)))
    assert verdict == unscannable("beyond a limit of the scanner (MaxFileSize)")


def test_the_end_of_a_large_file_is_scanned(
    large: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, transport: str
) -> None:
    path = sparse(tmp_path / "large", 300 * MIB, EICAR)
    clamd = Clamd(address_of(large, transport), threads, stream_limit=400 * MIB)
    assert runner.run(clamd.scan(str(path))) == FOUND


@pytest.mark.parametrize("content", ["missing", "directory", "pipe"])
def test_what_is_no_file_cannot_be_scanned(
    small: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "it"
    if content == "directory":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    with pytest.raises(OSError, match=r"not a regular file|No such file"):
        runner.run(Clamd(small.unix, threads).scan(str(path)))


@pytest.mark.parametrize("address", ["unix:/nowhere/clamd.ctl", "tcp://127.0.0.1:1"])
def test_a_clamd_that_is_not_there_is_unreachable(
    threads: Threads, runner: asyncio.Runner, tmp_path: Path, address: str
) -> None:
    clamd = Clamd(address, threads)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(Unreachable):
        runner.run(clamd.version())
    with pytest.raises(Unreachable):
        runner.run(clamd.scan(str(tmp_path / "file")))


def test_a_clamd_that_hangs_is_given_up(
    own: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, transport: str
) -> None:
    clamd = Clamd(address_of(own, transport), threads, timeout=0.3, answer_timeout=0.2)
    path = sparse(tmp_path / "file", 20 * MIB)  # more than a socket takes while nobody reads
    own.pause()
    with pytest.raises(Unreachable):
        runner.run(clamd.version())
    with pytest.raises(NoVerdict, match=r"silent for 0\.3 seconds"):
        runner.run(clamd.scan(str(path)))
    own.resume()
    patient = Clamd(address_of(own, transport), threads)
    assert runner.run(patient.scan(str(path))).finding is Finding.UNSCANNABLE


def test_a_cancelled_scan_ends_at_once(
    own: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, transport: str
) -> None:
    clamd = Clamd(address_of(own, transport), threads, timeout=DEADLINE)
    path = sparse(tmp_path / "file", 20 * MIB)
    own.pause()

    async def cancel() -> None:
        for _ in range(8):  # more than there are threads, so that they have to end
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(clamd.scan(str(path)), 0.2)

    started = time.monotonic()
    descriptors = len(os.listdir("/proc/self/fd"))
    runner.run(cancel())
    assert time.monotonic() - started < 4 * DEADLINE
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
    own.resume()
    assert runner.run(clamd.scan(str(path))).finding is Finding.UNSCANNABLE


def test_a_clamd_that_dies_over_a_file_has_given_no_verdict(
    own: ClamAV, threads: Threads, runner: asyncio.Runner, tmp_path: Path, transport: str
) -> None:
    clamd = Clamd(address_of(own, transport), threads)
    path = sparse(tmp_path / "file", 20 * MIB)
    own.pause()

    async def scan_and_kill() -> None:
        scan = asyncio.create_task(clamd.scan(str(path)))
        await asyncio.to_thread(eventually, own.has_client)
        own.stop()
        await scan

    with pytest.raises(NoVerdict):
        runner.run(scan_and_kill())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"stream: OK",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"stream: Can't allocate memory ERROR\0",
        b"\xff\xfe\0",
        b"x" * 5000,
        b"\0",
    ],
    ids=["nothing", "torn", "http", "error", "no text", "endless", "empty"],
)
def test_nonsense_is_no_verdict(threads: Threads, runner: asyncio.Runner, tmp_path: Path, answer: bytes) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with listening(saying(answer)) as address:
        clamd = Clamd(address, threads)
        with pytest.raises(NoVerdict):
            runner.run(clamd.scan(str(tmp_path / "file")))
        with pytest.raises(Unreachable):
            runner.run(clamd.version())


def test_a_connection_that_is_reset_has_given_no_verdict(
    threads: Threads, runner: asyncio.Runner, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "file", 50 * MIB)
    with listening(lambda _connection: None) as address, pytest.raises(NoVerdict):
        runner.run(Clamd(address, threads).scan(str(path)))


def test_a_file_that_is_cut_off_meanwhile_gets_no_verdict(
    threads: Threads, runner: asyncio.Runner, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "file", 50 * MIB)

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        os.truncate(path, 0)
        with closing(connection.makefile("rb")) as rest:
            rest.read()

    with listening(serve) as address, pytest.raises(NoVerdict, match="the file ended"):
        runner.run(Clamd(address, threads).scan(str(path)))
