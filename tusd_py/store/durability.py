"""What is on the disk when a request is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tusd_py.core.uploads import Upload

Durability = Literal["none", "finish", "each"]
"""What a success answer promises beyond a killed process: nothing more, that a complete upload survives the loss of
power, or that every acknowledged byte does."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The policy that the operator has chosen."""

    durability: Durability

    @property
    def flushes(self) -> bool:
        """Whether descriptions, names and marks on unverified bytes are flushed to the disk."""
        return self.durability != "none"

    @property
    def is_each(self) -> bool:
        return self.durability == "each"

    def covers(self, upload: Upload) -> bool:
        """Whether the bytes of an upload that count are to survive the loss of power."""
        return self.durability == "each" or (self.durability == "finish" and upload.is_complete)
