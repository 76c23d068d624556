"""Calling hooks: one small protocol, a module for each way to reach a receiver."""

from __future__ import annotations

from typing import Protocol

from tusd_py.core.hook_events import HookAnswer, HookCall


class Backend(Protocol):
    """A way to call hooks; `name` is unique among those of a server."""

    name: str

    async def call(self, call: HookCall) -> HookAnswer:
        """Ask the receiver, within its time limit. Raises `HookFailure`."""

    async def close(self) -> None: ...
