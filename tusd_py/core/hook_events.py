"""Hooks: tusd's events, what a receiver is sent, and what it may answer.

All are tusd's (tusd v2, "Hooks") but for one of ours, `pre-access`. `hook_json` has the form in which they travel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import StrEnum

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
    FILE_READY = "file-ready"
    FILE_QUARANTINED = "file-quarantined"
    FILE_FAILED = "file-failed"


DEFAULT_EVENTS = (
    *(Event.PRE_CREATE, Event.POST_CREATE, Event.POST_RECEIVE),
    *(Event.POST_TERMINATE, Event.POST_FINISH),
)
"""tusd's default of `-hooks-enabled-events`."""

FILE_EVENTS = frozenset({Event.FILE_READY, Event.FILE_QUARANTINED, Event.FILE_FAILED})
"""What becomes of a file after the steps that it goes through; tusd does not know these."""


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


def access_mode(method: str) -> str:
    return "read" if method in ("GET", "HEAD") else "write"


@dataclass(frozen=True, slots=True)
class HookCall:
    """One event for one receiver; `id` names it, so that a receiver can tell one that comes twice.

    `file` describes the file of an event about one, as the API does, with links to it; `happened_at`, in Unix seconds,
    is set where the receiver is told of it.
    """

    id: str
    event: Event
    upload: Upload
    request: HttpRequest
    info_path: str = ""
    access: Access | None = None
    file: Mapping[str, object] | None = None
    happened_at: float = 0.0


def without_headers(call: HookCall, names: Collection[str]) -> HookCall:
    """The call without these headers of its request, which are given in lower case."""
    header = {name: values for name, values in call.request.header.items() if name.lower() not in names}
    return replace(call, request=replace(call.request, header=header))


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
    """A hook could not be asked, or its answer not be understood.

    The text says why and goes to the client of a pre-hook, as with tusd. `was_received`: the receiver has had the
    event and taken it, so that telling it once more is of no use.
    """

    def __init__(self, reason: str, *, was_received: bool = False) -> None:
        super().__init__(reason)
        self.was_received = was_received


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


REFUSALS = {
    Event.PRE_CREATE: errors.UPLOAD_REJECTED,
    Event.PRE_TERMINATE: errors.TERMINATION_REJECTED,
    Event.PRE_ACCESS: errors.ACCESS_REJECTED,
    Event.POST_RECEIVE: errors.UPLOAD_STOPPED,
}
"""What the client is told when a hook says no, unless the hook says it in its own words."""
