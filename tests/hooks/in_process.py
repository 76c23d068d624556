"""Hooks that a configuration may name."""

from __future__ import annotations

from typing import Any

seen: list[dict[str, Any]] = []


def plain(document: dict[str, Any]) -> None:
    seen.append(document)


class Receiver:
    """Has a method for the event that it wants."""

    async def pre_create(self, document: dict[str, Any]) -> dict[str, Any]:
        seen.append(document)
        return {"RejectUpload": True}


class Unmade:
    """Cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("unmade")

    def pre_create(self, document: dict[str, Any]) -> None: ...


receiver = Receiver()
not_a_hook = 5
