"""The state that the flags ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tusd_py.core.threads import Near
from tusd_py.state import State
from tusd_py.state.files import FilesState


def configured_state(
    redis_url: str, redis_prefix: str, directory: Path, near: Near, count: Callable[[str], None]
) -> State:
    """Redis where there is a URL, else messages through `directory`. Raises ValueError; `count` is `RedisState`'s."""
    if not redis_url:
        return FilesState(directory, near)
    from tusd_py.state.redis import RedisState  # noqa: PLC0415 -- its library takes long to load

    return RedisState(redis_url, redis_prefix, near, count)
