"""What an upload is: the value that passes between all rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TUS, CHUNKS = "tus", "chunks"


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload, as a creation asks for it or as it is on disk.

    `size` in bytes is None while the length is deferred. `metadata_text` and `concat_text` are the headers as they
    came, echoed byte for byte (tus creation, concatenation); None means that the text is rebuilt from the values.
    `parts` are the ids that a final upload is made of, in order.

    What the store adds: `offset` counts the bytes that are known to be right, from the start; `path` is the data file;
    `changed_at` is the time of the newest change, `written_at` that of the newest bytes, and `created_at` that of the
    creation (Unix seconds; the last is None for uploads made by tusd). `file_id` names the file that it is or will be,
    where a record is kept of that; `protocol` is the way it came.
    """

    id: str
    size: int | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    metadata_text: str | None = None
    is_partial: bool = False
    parts: tuple[str, ...] | None = None
    concat_text: str | None = None

    offset: int = 0
    path: str = ""
    changed_at: float = 0.0
    written_at: float = 0.0
    created_at: float | None = None
    file_id: str | None = None
    protocol: str = TUS

    @property
    def is_final(self) -> bool:
        """A final upload is the concatenation of its parts (tus concatenation)."""
        return self.parts is not None

    @property
    def is_complete(self) -> bool:
        return self.size is not None and self.offset == self.size
