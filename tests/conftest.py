"""Servers and connections for tests that look at tusd_py from outside the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.redis_server import RedisServer, running_redis
from tests.running import Server, ServerStarter, start_server

# Servers and commands are run as users run them: what is left unwritten in a buffer is a matter of theirs.
os.environ.pop("PYTHONUNBUFFERED", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form of tests that have one")


@contextmanager
def starting_in(folder: Path) -> Iterator[ServerStarter]:
    servers: list[Server] = []

    def starter(*flags: str, upload_dir: Path | None = None, **options: Any) -> Server:
        server = start_server(upload_dir or folder / "data", *flags, **options)
        servers.append(server)
        return server

    outputs = []
    try:
        yield starter
    finally:
        for server in servers:
            server.kill()
            outputs.append(server.output())
            server.close()
    for output in outputs:
        assert "Traceback" not in output, output[output.index("Traceback") :][:3000]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[ServerStarter]:
    """Start `tusd-py` with flags; servers are killed at the end of the test and must have logged no traceback."""
    with starting_in(tmp_path) as starter:
        yield starter


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerStarter]:
    """As `start`, for servers that all tests of a module use; give each an upload directory of its own."""
    with starting_in(tmp_path_factory.mktemp("shared")) as starter:
        yield starter


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis that tests share; who does it harm starts one of its own, by `running_redis`."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def server(start_shared: ServerStarter) -> Server:
    """A server with the default flags, for all tests of a module: starting one takes longer than most of them.

    Who needs an empty directory, counts what a server has done, or does harm, starts one by `start`.
    """
    return start_shared()
