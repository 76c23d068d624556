"""A real clamd, whose one signature is EICAR, and files for it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.running import DEADLINE, eventually, free_port
from tusd_py.pipeline.probes import EICAR

STOCK: tuple[str, ...] = ()
"""Additional lines of clamd.conf: clamd as it comes, which calls clean what is beyond its limits."""

ALERTS = ("AlertEncrypted yes", "AlertExceedsMax yes")
MIB = 1024 * 1024

SMALL = (*ALERTS, "StreamMaxLength 4M", "MaxFileSize 8M", "MaxScanSize 8M")
LARGE = (
    *ALERTS,
    "StreamMaxLength 2000M",
    "MaxFileSize 2000M",
    "MaxScanSize 2000M",
    "MaxScanTime 240000",
    "ScanImageFuzzyHash no",
)
"""What the README says to set."""

_CONFIGURATION = (
    "Foreground yes",
    "DatabaseDirectory {folder}/signatures",
    "TemporaryDirectory {folder}/temporary",
    "LocalSocket {folder}/clamd.sock",
    "TCPAddr 127.0.0.1",
    "TCPSocket {port}",
)


class ClamAV:
    """A clamd that can be stopped and started again at the same addresses."""

    def __init__(self, folder: Path, lines: tuple[str, ...], version: int) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.unix = f"unix:{folder}/clamd.sock"
        self.tcp = f"tcp://127.0.0.1:{self._port}"
        for name in ("signatures", "temporary"):
            (folder / name).mkdir()
        self.configure(*lines)
        self.write_signatures(version)

    def configure(self, *lines: str) -> None:
        """What the next start has in its clamd.conf."""
        text = "\n".join((*_CONFIGURATION, *lines, ""))
        (self._folder / "clamd.conf").write_text(text.format(folder=self._folder, port=self._port))

    def write_signatures(self, version: int, *, eicar: bool = True) -> None:
        """What the next start, or `reload`, finds: a database of this version, unsigned."""
        signature = f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n" if eicar else "Nothing:0:*:00112233445566778899aabb\n"
        rules = signature.encode()
        head = f"ClamAV-VDB:22 Nov 2026 08-00 +0000:{version}:1:90:X:X:tests:1795000000".encode()
        about = b"%s\ndaily.ndb:%d:%s\n" % (head, len(rules), hashlib.sha256(rules).hexdigest().encode())
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in (("COPYING", b"none"), ("daily.info", about), ("daily.ndb", rules)):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        (self._folder / "signatures" / "daily.cud").write_bytes(head.ljust(512) + packed.getvalue())

    def start(self) -> None:
        program = shutil.which("clamd", path=os.environ["PATH"] + ":/usr/sbin")
        assert program, "these tests need clamd (apt-get install clamav-daemon)"
        with (self._folder / "output.log").open("wb") as output:
            command = [program, "-c", str(self._folder / "clamd.conf")]
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        eventually(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()  # also where it is paused, without another word
            self._process.wait(DEADLINE)

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        """Have it read its signatures, and wait until it has."""
        before = self._ask(b"VERSION")
        assert self._ask(b"RELOAD") == b"RELOADING\0"
        eventually(lambda: self._ask(b"VERSION") != before)

    def pause(self) -> None:
        """It is there, takes connections, and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def has_client(self) -> bool:
        """Whether a connection to it is open, also one that it has not taken yet (proc(5))."""
        local = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        tcp = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        sockets = [fields for fields in local if fields[-1] == self.unix.removeprefix("unix:")]  # one of which listens
        return len(sockets) > 1 or any(
            fields[1].endswith(f":{self._port:04X}") and fields[3] == "01" for fields in tcp[1:]
        )

    def output(self) -> str:
        return (self._folder / "output.log").read_text(errors="replace")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.output()
        try:
            with socket.create_connection(("127.0.0.1", self._port)):
                return self._ask(b"PING") == b"PONG\0"
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(self.unix.removeprefix("unix:"))
            connection.sendall(b"z" + command + b"\0")
            return connection.recv(1000)


@contextmanager
def clamav(*lines: str, version: int = 1) -> Iterator[ClamAV]:
    """Start a clamd with these lines in its clamd.conf."""
    # Not pytest's directory, whose name is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="tusd-py-clamav-") as name:
        daemon = ClamAV(Path(name), lines, version)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.stop()


def encrypted_zip(name: str, data: bytes, password: bytes) -> bytes:
    """A ZIP in the traditional encryption, which the standard library can only read."""
    keys = [0x12345678, 0x23456789, 0x34567890]
    table = [_crc_of_byte(byte) for byte in range(256)]

    def update(byte: int) -> None:
        keys[0] = keys[0] >> 8 ^ table[(keys[0] ^ byte) & 0xFF]
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = keys[2] >> 8 ^ table[(keys[2] ^ keys[1] >> 24) & 0xFF]

    def encrypt(byte: int) -> int:
        mask = keys[2] & 0xFFFF | 2
        encrypted = byte ^ (mask * (mask ^ 1) >> 8) & 0xFF
        update(byte)
        return encrypted

    for byte in password:
        update(byte)
    salt = os.urandom(11) + (zlib.crc32(data) >> 24).to_bytes()
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, salt + data)
    content = bytearray(plain.getvalue().replace(salt + data, bytes(encrypt(byte) for byte in salt + data)))
    directory = content.rindex(b"PK\1\2")
    for start in (6, directory + 8):
        content[start] |= 1
    for start in (14, directory + 16):
        content[start : start + 4] = zlib.crc32(data).to_bytes(4, "little")
        content[start + 8 : start + 12] = len(data).to_bytes(4, "little")
    return bytes(content)


def _crc_of_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value
