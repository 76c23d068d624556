"""Running daemons, and threads to ask them from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.pipeline.clamav import LARGE, SMALL, STOCK, ClamAV, clamav
from tusd_py.service.threads import Threads


@pytest.fixture(scope="session")
def stock() -> Iterator[ClamAV]:
    """clamd as it comes."""
    with clamav(*STOCK) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def small() -> Iterator[ClamAV]:
    """clamd with low limits, which says so when they are exceeded."""
    with clamav(*SMALL) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def large() -> Iterator[ClamAV]:
    """clamd as the README has it, which says so when its limits are exceeded."""
    with clamav(*LARGE) as daemon:
        yield daemon


@pytest.fixture
def own() -> Iterator[ClamAV]:
    """A clamd that a test may stop and change."""
    with clamav(*SMALL) as daemon:
        yield daemon


@pytest.fixture
def threads() -> Iterator[Threads]:
    pool = Threads("scan", 4)
    yield pool
    pool.close()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner
