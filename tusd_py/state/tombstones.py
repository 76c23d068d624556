"""The uploads that have expired, as far as a process remembers."""

from __future__ import annotations

from collections import OrderedDict

_REMEMBERED = 10_000


class Tombstones:
    """The newest keys; one that is forgotten was never there."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def add(self, key: str) -> None:
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > _REMEMBERED:
            self._keys.popitem(last=False)

    def __contains__(self, key: str) -> bool:
        return key in self._keys
