"""A real HAProxy with a configuration from the README."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.running import DEADLINE, eventually, reserved_port


@contextmanager
def configured_haproxy(configuration: str, replaced: Mapping[str, str]) -> Iterator[int]:
    """Start HAProxy with the port and these texts of its configuration replaced; the port it listens on."""
    program = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "these tests need HAProxy (apt-get install haproxy)"
    with tempfile.TemporaryDirectory(prefix="tusd-py-haproxy-") as folder, reserved_port() as port:
        for text, replacement in replaced.items():
            assert text in configuration
            configuration = configuration.replace(text, replacement)
        configuration, count = re.subn(r"bind :80\b", f"bind 127.0.0.1:{port}", configuration)
        assert count == 1
        path = Path(folder, "haproxy.cfg")
        path.write_text(configuration)
        check = [program, "-c", "-f", str(path)]
        warnings = subprocess.run(check, check=True, capture_output=True, text=True, timeout=DEADLINE).stderr
        assert not warnings
        log = Path(folder, "output.log")
        with log.open("wb") as output:
            process = subprocess.Popen([program, "-db", "-f", str(path)], stdout=output, stderr=subprocess.STDOUT)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        try:
            eventually(answers)
            yield port
        finally:
            process.kill()
            process.wait(DEADLINE)
