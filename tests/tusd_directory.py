"""Uploads on the disk as tusd leaves them (made by hand from tusd-compat 3.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_as_tusd(
    directory: Path, upload_id: str, data: bytes | None, path: Path | None = None, **members: Any
) -> None:
    """The two files of an upload, or without `data` only the `.info`; `path` is where the data is if not beside it."""
    path = path or directory / upload_id
    info_path = directory / f"{upload_id}.info"
    for file in (path, info_path):
        file.parent.mkdir(parents=True, exist_ok=True)
    if data is not None:
        path.write_bytes(data)
    info: dict[str, Any] = {
        "ID": upload_id,
        "Size": 11,
        "SizeIsDeferred": False,
        "Offset": 0,
        "MetaData": {},
        "IsPartial": False,
        "IsFinal": False,
        "PartialUploads": None,
        "Storage": {"InfoPath": str(info_path), "Path": str(path), "Type": "filestore"},
    }
    info_path.write_text(json.dumps(info | members, separators=(",", ":")))
