"""The JSON of hooks: what tusd would send for an event, byte for byte, and what Go would read in an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from tusd_py.core.headers import LARGEST, decode_value
from tusd_py.core.hook_events import Event, HookAnswer, HookCall, HookFailure, HttpRequest, HttpResponse
from tusd_py.core.uploads import Upload

_GO_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
"""What Go escapes beyond JSON's own rules; in JSON these can only stand in strings."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class CorruptCall(ValueError):
    """The text is not a call that was put on disk."""


# --- calls ---


def encode_call(call: HookCall) -> bytes:
    """The JSON that tusd would send for this event, on one line; text that is not Unicode becomes U+FFFD."""
    return _encode(call_document(call))


def call_document(call: HookCall) -> dict[str, Any]:
    upload, request = call.upload, call.request
    event: dict[str, Any] = {
        "Upload": {
            "ID": upload.id,
            "Size": upload.size or 0,
            "SizeIsDeferred": upload.size is None,
            "Offset": upload.offset,
            "MetaData": dict(sorted(upload.metadata.items())),
            "IsPartial": upload.is_partial,
            "IsFinal": upload.is_final,
            "PartialUploads": list(upload.parts) if upload.parts is not None else None,
            "Storage": {"InfoPath": call.info_path, "Path": upload.path, "Type": "filestore"} if upload.path else None,
        },
        "HTTPRequest": {
            "Method": request.method,
            "URI": request.uri,
            "RemoteAddr": request.remote_addr,
            "Header": {name: list(values) for name, values in sorted(request.header.items())},
        },
    }
    if call.access is not None:
        event["Access"] = {"Mode": call.access.mode, "IDs": list(call.access.ids)}
    if call.file is not None:
        event["File"] = dict(call.file)
    return {"Type": call.event.value, "Event": event}


def pack_call(call: HookCall) -> bytes:
    """A call as it is kept until it is delivered: on one line, with its id."""
    return _encode({"CallID": call.id, "HappenedAt": call.happened_at} | call_document(call))


def unpack_call(text: bytes) -> HookCall:
    """Read what `pack_call` wrote: a call that `encode_call` makes the same text of. Raises `CorruptCall`."""
    try:
        document = json.loads(text)
        upload, request = document["Event"]["Upload"], document["Event"]["HTTPRequest"]
        storage = upload["Storage"] or {"InfoPath": "", "Path": ""}
        return HookCall(
            id=document["CallID"],
            event=Event(document["Type"]),
            upload=Upload(
                id=upload["ID"],
                size=None if upload["SizeIsDeferred"] else upload["Size"],
                metadata=upload["MetaData"],
                is_partial=upload["IsPartial"],
                parts=tuple(upload["PartialUploads"]) if upload["IsFinal"] else None,
                offset=upload["Offset"],
                path=storage["Path"],
            ),
            request=HttpRequest(request["Method"], request["URI"], request["RemoteAddr"], request["Header"]),
            info_path=storage["InfoPath"],
            file=document["Event"].get("File"),
            happened_at=float(document.get("HappenedAt", 0.0)),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptCall(type(error).__name__) from error


def _encode(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).translate(_GO_ESCAPES)
    return _SURROGATE.sub(r"\\ufffd", text).encode()


# --- answers ---


def decode_answer(text: bytes) -> HookAnswer:
    """Read an answer as Go would: names in any case, unknown keys ignored, null as absent. Raises `HookFailure`."""
    try:
        document = json.loads(decode_value(text), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _unreadable(str(error)) from error
    return _read_answer({} if document is None else document)


def _read_answer(document: object) -> HookAnswer:
    answer = _Fields(document, "hook response")
    response = _Fields(answer.take("HTTPResponse", dict, {}), "HTTPResponse")
    changes = _Fields(answer.take("ChangeFileInfo", dict, {}), "ChangeFileInfo")
    storage = _Fields(changes.take("Storage", dict, {}), "Storage")
    metadata = changes.take("MetaData", dict, None)
    return HookAnswer(
        response=HttpResponse(
            status=checked_status(response.take("StatusCode", int, 0)),
            body=response.take("Body", str, ""),
            header=_texts(response.take("Header", dict, {}), "Header"),
        ),
        reject_upload=answer.take("RejectUpload", bool, False),
        reject_termination=answer.take("RejectTermination", bool, False),
        reject_access=answer.take("RejectAccess", bool, False),
        stop_upload=answer.take("StopUpload", bool, False),
        change_id=changes.take("ID", str, ""),
        change_metadata=None if metadata is None else _texts(metadata, "MetaData"),
        change_path=storage.take("Path", str, ""),
        cache_seconds=float(answer.take("CacheSeconds", int, 0)),
    )


def checked_status(status: int) -> int:
    """A status that an answer can have, or 0 for no change; with any other Go would break off. Raises `HookFailure`."""
    if status and not 200 <= status <= 999:
        raise _unreadable(f"{status} is not a StatusCode")
    return status


class _Fields:
    """The members of a JSON object by lower-case name; null counts as absent, a wrong type is a failure."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise _unreadable(f"{where} is not an object")
        self._members = {str(name).lower(): value for name, value in document.items() if value is not None}

    def take(self, name: str, kind: type[Any], default: Any) -> Any:
        value: Any = self._members.get(name.lower())
        if value is None:
            return default
        if type(value) is not kind or (kind is int and not -LARGEST - 1 <= value <= LARGEST):
            raise _unreadable(f"{name} has the wrong type")
        return _text(value) if kind is str else value


def _texts(members: Mapping[str, object], where: str) -> dict[str, str]:
    """A map of texts, in which null is the empty one."""
    texts = {_text(name): "" if value is None else value for name, value in members.items()}
    if not all(isinstance(value, str) for value in texts.values()):
        raise _unreadable(f"{where} has the wrong type")
    return {name: _text(str(value)) for name, value in texts.items()}


def _text(value: str) -> str:
    return _SURROGATE.sub("\ufffd", value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unreadable(reason: str) -> HookFailure:
    return HookFailure(f"failed to parse hook response: {reason}", was_received=True)
