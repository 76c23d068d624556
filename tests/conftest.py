"""Servers and connections for tests that look at tusd_py from outside the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Server, ServerStarter, start_server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[ServerStarter]:
    """Start `tusd-py` with flags; every server started by a test is killed at its end and must have logged no traceback."""
    servers: list[Server] = []

    def starter(*flags: str, upload_dir: Path | None = None, **options: Any) -> Server:
        server = start_server(upload_dir or tmp_path / "data", *flags, **options)
        servers.append(server)
        return server

    yield starter
    for server in servers:
        server.kill()
    for server in servers:
        assert "Traceback" not in server.output()


@pytest.fixture
def server(start: ServerStarter) -> Server:
    """A server with the default flags on an empty directory."""
    return start()
