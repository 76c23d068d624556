"""Calls as they were made, for as long as there is room: with the headers that are not kept at rest."""

from __future__ import annotations

import threading
from collections import OrderedDict

from tusd_py.core.hook_events import HookCall
from tusd_py.core.hook_json import pack_call

_MOST_BYTES = 16 * 1024 * 1024


class FreshCalls:
    """Calls by name; the oldest go when all together are too large. May be used from any thread."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._calls: OrderedDict[str, tuple[HookCall, int]] = OrderedDict()
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._calls

    def get(self, name: str) -> HookCall | None:
        with self._lock:
            return self._calls[name][0] if name in self._calls else None

    def add(self, name: str, call: HookCall) -> None:
        size = len(pack_call(call))
        with self._lock:
            self._calls[name] = (call, size)
            self._bytes += size
            while self._bytes > self._most_bytes:
                self._bytes -= self._calls.popitem(last=False)[1][1]

    def remove(self, name: str) -> None:
        with self._lock:
            if entry := self._calls.pop(name, None):
                self._bytes -= entry[1]
