"""Events for the tests of back ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tusd_py.core.hook_events import Event, HookCall, HttpRequest
from tusd_py.core.uploads import Upload


def call_about(
    upload_id: str = "abc",
    event: Event = Event.POST_FINISH,
    *,
    call_id: str = "call-1",
    header: Mapping[str, Sequence[str]] | None = None,
    size: int | None = 11,
    offset: int = 11,
    metadata: Mapping[str, str] | None = None,
) -> HookCall:
    path = "" if event is Event.PRE_CREATE else f"/srv/data/{upload_id}"
    return HookCall(
        call_id,
        event,
        Upload(upload_id, size, metadata or {"filename": "world.txt"}, offset=offset, path=path),
        HttpRequest("PATCH", f"/files/{upload_id}", "127.0.0.1:59395", header or {"Host": ["localhost:8080"]}),
        f"{path}.info" if path else "",
    )
