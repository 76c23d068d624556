"""Calling parts of the package in the process of the test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from tests.running import DEADLINE
from tusd_py.core.errors import Problem, UploadError


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on an event loop of its own, with time for what itself may take all of `DEADLINE`."""

    async def limited() -> None:
        async with asyncio.timeout(2 * DEADLINE):
            await test()

    asyncio.run(limited())


async def until(look: Callable[[], object]) -> None:
    """Returns once `look` is true, while the loop goes on; the test's time limit is the limit."""
    while not look():  # noqa: ASYNC110 -- what is looked at tells nobody
        await asyncio.sleep(0.005)


def problem_of(action: Callable[[], object]) -> Problem:
    """What an action is refused for."""
    with pytest.raises(UploadError) as caught:
        action()
    return caught.value.problem


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
