"""Work in line in one process."""

from __future__ import annotations

import asyncio


class LocalQueue:
    """What is in line already is not put there twice."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()

    def put(self, item: str) -> None:
        if item not in self._waiting:
            self._waiting.add(item)
            self._items.put_nowait(item)

    async def take(self) -> str:
        item = await self._items.get()
        self._waiting.discard(item)
        return item

    def take_nowait(self) -> str | None:
        """What is first in line, if there is anything."""
        if self._items.empty():
            return None
        item = self._items.get_nowait()
        self._waiting.discard(item)
        return item
