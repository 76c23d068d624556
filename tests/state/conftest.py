"""The two kinds of state, each in a place of its own."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.redis_server import RedisServer
from tests.running import DEADLINE
from tests.state.places import Place


@pytest.fixture(params=["files", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where each test of what a state promises is made twice."""
    if request.param == "files":
        return Place(tmp_path, "", "unused", after_death=0)
    redis: RedisServer = request.getfixturevalue("redis")
    prefix = secrets.token_hex(4)
    redis.use(prefix)
    return Place(tmp_path, redis.url, prefix, after_death=DEADLINE)
