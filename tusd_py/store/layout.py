"""Where things are in the upload directory: tusd's layout, `<id>` and `<id>.info`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tusd_py.core.ids import LONGEST, LONGEST_NAME, RESERVED_ENDINGS, is_upload_id
from tusd_py.core.uploads import Upload


class Layout:
    """`place` is the upload directory with a slash at its end; paths are texts, since there are many of them."""

    def __init__(self, directory: Path, state_directory: Path) -> None:
        self.directory = directory
        self.place = os.path.join(directory, "")
        self._state_directory = state_directory

    def upload_ids(self) -> Iterator[str]:
        """The ids of all uploads, custom ones in subdirectories included."""
        for folder, subfolders, names in os.walk(self.directory):
            if folder == str(self.directory):
                subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for name in names:
                upload_id = os.path.relpath(os.path.join(folder, name.removesuffix(".info")), self.directory)
                if name.endswith(".info") and is_upload_id(upload_id):
                    yield upload_id

    def info_path(self, upload_id: str) -> str:
        """Where the `.info` of an upload is, or will be."""
        return f"{self.place}{upload_id}.info"

    def place_of(self, upload: Upload) -> str:
        """Where the data of an upload is, or will be: beside its description, if nobody says otherwise."""
        return self._cleaned(upload.path) if upload.path else self.place + upload.id

    def is_place(self, path: str) -> bool:
        """Whether the data of an upload may be put at a path, relative to the upload directory: not in the place of a
        description, nor among our own files.
        """
        place = Path(self._cleaned(path))
        is_ours = place.is_relative_to(self._state_directory) or place in (self.directory, *self.directory.parents)
        is_name = "\0" not in path and not path.endswith(("/", *RESERVED_ENDINGS))
        is_too_long = len(os.fsencode(place)) > LONGEST or len(os.fsencode(place.name)) > LONGEST_NAME
        return is_name and not is_ours and not is_too_long

    def _cleaned(self, path: str) -> str:
        """Without `..`, as tusd has it."""
        return os.path.normpath(os.path.join(self.place, path))
