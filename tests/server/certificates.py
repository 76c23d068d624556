"""Certificates for tests, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

KINDS = {"rsa": ("rsa:2048",), "ec": ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")}


@dataclass(frozen=True)
class Files:
    """Where a certificate and its key are."""

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        self.certificate.parent.mkdir(parents=True, exist_ok=True)

    @property
    def flags(self) -> tuple[str, ...]:
        return ("-tls-certificate", str(self.certificate), "-tls-key", str(self.key))

    def hold(self, name: str, kind: str = "rsa") -> None:
        """Put a certificate for this name there."""
        certificate, key = _made(name, kind)
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)


def files_in(folder: Path) -> Files:
    return Files(folder / "certificate.pem", folder / "key.pem")


@cache
def _made(name: str, kind: str) -> tuple[bytes, bytes]:
    with TemporaryDirectory() as folder:
        made = files_in(Path(folder))
        command = ["openssl", "req", "-x509", "-newkey", *KINDS[kind], "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"]
        command += ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        return made.certificate.read_bytes(), made.key.read_bytes()
