"""Hooks: tusd's events, what a receiver is sent, and what it may answer.

The JSON is tusd's, key by key (tusd v2, "Hooks"); one event of ours, `pre-access`, comes in the same form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError
from tusd_py.core.uploads import Upload


class Event(StrEnum):
    """What a hook can be called for."""

    PRE_ACCESS = "pre-access"
    PRE_CREATE = "pre-create"
    POST_CREATE = "post-create"
    POST_RECEIVE = "post-receive"
    PRE_FINISH = "pre-finish"
    POST_FINISH = "post-finish"
    PRE_TERMINATE = "pre-terminate"
    POST_TERMINATE = "post-terminate"


DEFAULT_EVENTS = (
    *(Event.PRE_CREATE, Event.POST_CREATE, Event.POST_RECEIVE),
    *(Event.POST_TERMINATE, Event.POST_FINISH),
)
"""tusd's default of `-hooks-enabled-events`."""

DURABLE_EVENTS = frozenset({Event.POST_CREATE, Event.POST_FINISH, Event.POST_TERMINATE})
"""Events that are kept on disk until they are delivered; nobody waits for their answers."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The request that an event comes from, as Go sees it: `header` has canonical names and all values."""

    method: str
    uri: str
    remote_addr: str
    header: Mapping[str, Sequence[str]]


NO_REQUEST = HttpRequest("", "", "", {})
"""Of events that no request caused, such as the end of an upload whose time was over."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a request wants: to `read` or `write` these uploads or files (by id)."""

    mode: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HookCall:
    """One event for one receiver; `id` names it, so that a receiver can tell one that comes twice."""

    id: str
    event: Event
    upload: Upload
    request: HttpRequest
    info_path: str = ""
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a hook wants changed in the answer to the client: zero and empty mean no change."""

    status: int = 0
    body: str = ""
    header: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """What a receiver answered.

    `change_*` replace what the client asked for (None: no change); `cache_seconds` is how long a pre-access answer is
    good for.
    """

    response: HttpResponse = field(default_factory=HttpResponse)
    reject_upload: bool = False
    reject_termination: bool = False
    reject_access: bool = False
    stop_upload: bool = False
    change_id: str = ""
    change_metadata: Mapping[str, str] | None = None
    change_path: str = ""
    cache_seconds: float = 0.0


class HookFailure(Exception):
    """A hook could not be asked, or its answer not be understood; the text says why and goes to the client of a
    pre-hook, as with tusd.
    """


class HookRefusal(UploadError):
    """A hook said no; `response` is what it wants the client to be told."""

    def __init__(self, problem: Problem, response: HttpResponse) -> None:
        super().__init__(problem)
        self.response = response


class Exchange:
    """The request that is being answered, and what hooks want changed in a successful answer."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.changes: list[HttpResponse] = []


current_exchange: ContextVar[Exchange | None] = ContextVar("current_exchange", default=None)


def encode_call(call: HookCall) -> bytes:
    """The JSON that tusd would send for this event, on one line."""
    return json.dumps(call_document(call), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def call_document(call: HookCall) -> dict[str, Any]:
    upload, request = call.upload, call.request
    event: dict[str, Any] = {
        "Upload": {
            "ID": upload.id,
            "Size": upload.size or 0,
            "SizeIsDeferred": upload.size is None,
            "Offset": upload.offset,
            "MetaData": dict(upload.metadata),
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
    return {"Type": call.event.value, "Event": event}


def decode_answer(text: bytes) -> HookAnswer:
    """Read an answer as Go would: names in any case, unknown keys ignored, null as absent. Raises `HookFailure`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HookFailure(f"failed to parse hook response: {error}") from error
    return read_answer(document)


def read_answer(document: object) -> HookAnswer:
    answer = _Fields(document, "hook response")
    response = _Fields(answer.take("HTTPResponse", dict, {}), "HTTPResponse")
    changes = _Fields(answer.take("ChangeFileInfo", dict, {}), "ChangeFileInfo")
    storage = _Fields(changes.take("Storage", dict, {}), "Storage")
    return HookAnswer(
        response=HttpResponse(
            status=response.take("StatusCode", int, 0),
            body=response.take("Body", str, ""),
            header=_texts(response.take("Header", dict, {}), "Header"),
        ),
        reject_upload=answer.take("RejectUpload", bool, False),
        reject_termination=answer.take("RejectTermination", bool, False),
        reject_access=answer.take("RejectAccess", bool, False),
        stop_upload=answer.take("StopUpload", bool, False),
        change_id=changes.take("ID", str, ""),
        change_metadata=_optional_texts(changes.take("MetaData", dict, None)),
        change_path=storage.take("Path", str, ""),
        cache_seconds=float(answer.take("CacheSeconds", int, 0)),
    )


class _Fields:
    """The members of a JSON object by lower-case name; null counts as absent, a wrong type is a failure."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise HookFailure(f"failed to parse hook response: {where} is not an object")
        self._members = {str(name).lower(): value for name, value in document.items()}

    def take(self, name: str, kind: type, default: Any) -> Any:
        value = self._members.get(name.lower())
        if value is None:
            return default
        if type(value) is not kind:
            raise HookFailure(f"failed to parse hook response: {name} has the wrong type")
        return value


def _texts(members: Mapping[object, object], where: str) -> dict[str, str]:
    if not all(isinstance(value, str) for value in members.values()):
        raise HookFailure(f"failed to parse hook response: {where} has the wrong type")
    return {str(name): str(value) for name, value in members.items()}


def _optional_texts(members: Mapping[object, object] | None) -> dict[str, str] | None:
    return None if members is None else _texts(members, "MetaData")


REFUSALS = {
    Event.PRE_CREATE: errors.UPLOAD_REJECTED,
    Event.PRE_TERMINATE: errors.TERMINATION_REJECTED,
    Event.PRE_ACCESS: errors.ACCESS_REJECTED,
    Event.POST_RECEIVE: errors.UPLOAD_STOPPED,
}
"""What the client is told when a hook says no, unless the hook says it in its own words."""
