"""What an upload is: the value that passes between all rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a creation asks for: `size` in bytes, None while its length is deferred.

    `metadata_text` and `concat_text` are the headers as they came, echoed byte for byte (tus creation, concatenation);
    None means that the text is rebuilt from the values.
    """

    id: str
    size: int | None
    metadata: Mapping[str, str] = field(default=NO_METADATA)
    metadata_text: str | None = None
    is_partial: bool = False
    parts: tuple[str, ...] | None = None
    concat_text: str | None = None

    @property
    def is_final(self) -> bool:
        """A final upload is the concatenation of its parts (tus concatenation)."""
        return self.parts is not None


@dataclass(frozen=True, slots=True)
class Upload(NewUpload):
    """An upload as it is on disk.

    `offset` counts the bytes that are known to be right, from the start; `path` is its data file; `changed_at` is the time
    of its newest change and `created_at` that of its creation (Unix seconds; unknown for uploads made by tusd).
    """

    offset: int = 0
    path: str = ""
    changed_at: float = 0.0
    created_at: float | None = None

    @property
    def is_complete(self) -> bool:
        return self.size is not None and self.offset == self.size
