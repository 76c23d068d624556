"""What a process remembers of its latest uploads."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

T = TypeVar("T")

_MOST = 10_000


class Newest(OrderedDict[str, T]):
    """Values by upload id, of the newest ones only; one that is forgotten costs a little work."""

    def __setitem__(self, upload_id: str, value: T) -> None:
        super().__setitem__(upload_id, value)
        self.move_to_end(upload_id)
        if len(self) > _MOST:
            self.popitem(last=False)
