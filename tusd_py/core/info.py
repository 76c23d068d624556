"""The `.info` file: tusd's JSON description of an upload, with one key of ours, `TusdPy`.

tusd's keys stand in tusd's order, so that a directory can be handed over in both directions. The offset that is
written there is stale by design: the truth is the size of the data file (tusd's layout).
"""

from __future__ import annotations

import json
from typing import Any

from tusd_py.core.headers import LARGEST
from tusd_py.core.ids import is_file_id
from tusd_py.core.uploads import CHUNKS, TUS, Upload

EXTRAS = "TusdPy"

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class CorruptInfo(ValueError):
    """The text is not the description of an upload."""


def encode_info(upload: Upload, info_path: str) -> bytes:
    extras: dict[str, Any] = {"Protocol": upload.protocol}
    if upload.file_id is not None:
        extras["FileId"] = upload.file_id
    if upload.metadata_text is not None:
        extras["Metadata"] = upload.metadata_text
    if upload.concat_text is not None:
        extras["Concat"] = upload.concat_text
    if upload.created_at is not None:
        extras["Created"] = upload.created_at
    document = {
        "ID": upload.id,
        "Size": upload.size or 0,
        "SizeIsDeferred": upload.size is None,
        "Offset": upload.offset,
        "MetaData": dict(upload.metadata),
        "IsPartial": upload.is_partial,
        "IsFinal": upload.is_final,
        "PartialUploads": list(upload.parts) if upload.parts is not None else None,
        "Storage": {"InfoPath": info_path, "Path": upload.path, "Type": "filestore"},
        EXTRAS: extras,
    }
    return _to_json(document).encode("utf-8", "replace")


def decode_info(text: bytes, upload_id: str) -> Upload:
    """Read an `.info` as Go would: names in any case, unknown keys ignored, absent ones at their zero value.

    The id is the one the file was found under; an empty `path` stands for the place beside the `.info`. Raises
    `CorruptInfo`.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptInfo("not JSON") from error
    fields = _Fields(document)
    extras = _Fields(fields.take("TusdPy", dict, {}))
    storage = _Fields(fields.take("Storage", dict, {}))
    metadata = fields.take("MetaData", dict, {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptInfo("MetaData")
    parts = fields.take("PartialUploads", list, [])
    if not all(isinstance(part, str) for part in parts):
        raise CorruptInfo("PartialUploads")
    size = fields.take("Size", int, 0)
    if not 0 <= size <= LARGEST:
        raise CorruptInfo("Size")
    return Upload(
        id=upload_id,
        size=None if fields.take("SizeIsDeferred", bool, False) else size,
        metadata=metadata,
        metadata_text=header_text(extras.take("Metadata", str, None)),
        is_partial=fields.take("IsPartial", bool, False),
        parts=tuple(parts) if fields.take("IsFinal", bool, False) else None,
        concat_text=header_text(extras.take("Concat", str, None)),
        path=_path(storage.take("Path", str, "")),
        created_at=extras.take("Created", float, None),
        file_id=_file_id(extras.take("FileId", str, None)),
        protocol=CHUNKS if extras.take("Protocol", str, TUS) == CHUNKS else TUS,
    )


def header_text(text: str | None) -> str | None:
    """A text that was a header, as it can be one again; any other is rebuilt."""
    return text if text is not None and text.isascii() and text.isprintable() else None


def _file_id(text: str | None) -> str | None:
    return text if text is not None and is_file_id(text) else None


def _path(text: str) -> str:
    """Any path that a file can have is used as it stands."""
    try:
        is_possible = b"\0" not in text.encode()
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise CorruptInfo("Storage.Path")
    return text


class _Fields:
    """The members of a JSON object by lower-case name; null counts as absent."""

    def __init__(self, document: object) -> None:
        if not isinstance(document, dict):
            raise CorruptInfo("not an object")
        self._members = {str(name).lower(): value for name, value in document.items()}

    def take(self, name: str, kind: type, default: Any) -> Any:
        value = self._members.get(name.lower())
        if value is None:
            return default
        if kind is float and type(value) is int and abs(value) <= LARGEST:
            return float(value)
        if type(value) is not kind:
            raise CorruptInfo(name)
        return value
