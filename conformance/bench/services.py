"""What some contenders need beside them: a Redis, a clamd, a certificate; each on a directory of its own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from .contenders import find_clamd
from .messages import Broken

START_LIMIT = 60.0

# The test file that scanners agree on, in two pieces, so that this one is not found.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD" + b"-ANTIVIRUS-TEST-FILE!$H+H*"

_CLAMD_CONF = """\
Foreground yes
DatabaseDirectory {folder}/signatures
LocalSocket {folder}/clamd.sock
AlertEncrypted yes
AlertExceedsMax yes
StreamMaxLength 2000M
MaxFileSize 2000M
MaxScanSize 2000M
MaxScanTime 240000
ScanImageFuzzyHash no
"""

Started = tuple[subprocess.Popen[bytes] | None, Mapping[str, str]]
"""A process, whose cost is that of the contender, and what its placeholders stand for."""


def start_redis(folder: Path) -> Started:
    """A Redis that keeps everything in memory."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = _start(command, folder / "redis.log")
    wait_until(lambda: answers(port, b"PING\r\n"), process, folder / "redis.log")
    return process, {"redis": f"redis://127.0.0.1:{port}/0"}


def start_clamd(folder: Path) -> Started:
    """A clamd that knows nothing but the test file."""
    (folder / "signatures").mkdir()
    (folder / "signatures" / "bench.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n")
    (folder / "clamd.conf").write_text(_CLAMD_CONF.format(folder=folder))
    process = _start([find_clamd() or "clamd", "-c", str(folder / "clamd.conf")], folder / "clamd.log")
    path = folder / "clamd.sock"
    wait_until(lambda: path.exists() and answers(str(path), b"zPING\0"), process, folder / "clamd.log")
    return process, {"clamd": f"unix:{path}"}


def make_certificate(folder: Path) -> Started:
    names = {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-subj", "/CN=127.0.0.1", "-days", "2", "-out", names["certificate"], "-keyout", names["key"]]
    try:
        subprocess.run([*command, *files], check=True, capture_output=True, timeout=START_LIMIT)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise Broken(f"openssl makes no certificate: {error}") from error
    return None, names


SERVICES: Mapping[str, Callable[[Path], Started]] = {
    "{redis}": start_redis,
    "{clamd}": start_clamd,
    "{certificate}": make_certificate,
}
"""By a placeholder of a command that needs it."""


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a process to be there.

    Raises:
        Broken: it ended, or takes too long.
    """
    end = time.monotonic() + START_LIMIT
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise Broken(f"it does not start: {process.args!r}\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def answers(address: int | str, question: bytes = b"") -> bool:
    """Whether something listens at a port or path, and answers if it is asked something."""
    with suppress(OSError), socket.socket(socket.AF_INET if isinstance(address, int) else socket.AF_UNIX) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", address) if isinstance(address, int) else address)
        if not question:
            return True
        client.sendall(question)
        return b"PONG" in client.recv(100)
    return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603
