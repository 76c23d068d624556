"""What the answer of a hook may change of an upload, and when it is a refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from tusd_py.core.errors import INTERNAL_SERVER_ERROR, Problem, UploadError
from tusd_py.core.hook_events import REFUSALS, Event, HookAnswer, HookRefusal
from tusd_py.core.ids import LONGEST_NAME, is_upload_id
from tusd_py.core.uploads import Upload

_ID = re.compile(r"[A-Za-z0-9\-._~%!$'()*+,;=/:@]*")  # tusd's rule for ids that a hook chooses


class HookTrouble(UploadError):
    """A hook that had to be asked could not be; as with tusd, the client is told what it said."""

    def __init__(self, reason: str) -> None:
        super().__init__(Problem(INTERNAL_SERVER_ERROR.code, 500, reason))


def changed(upload: Upload, answer: HookAnswer, is_place: Callable[[str], bool]) -> Upload:
    """The upload as the answer wants it made; `is_place` says where the bytes of an upload may be.

    Raises `HookTrouble` for an id that cannot be a URL or a file beside others, and for a place of other files.
    """
    if answer.change_path and not is_place(answer.change_path):
        raise _invalid(f"Storage.Path must not be reserved (got: {answer.change_path})")
    upload = replace(
        upload,
        id=_checked_id(answer.change_id) if answer.change_id else upload.id,
        path=answer.change_path or upload.path,
    )
    if answer.change_metadata is not None:
        upload = replace(upload, metadata=answer.change_metadata, metadata_text=None)
    return upload


def check_refusal(event: Event, answer: HookAnswer) -> None:
    """Raises `HookRefusal`; a refusal counts only from the hook that it belongs to (as with tusd)."""
    refuses = {
        Event.PRE_CREATE: answer.reject_upload,
        Event.PRE_TERMINATE: answer.reject_termination,
        Event.PRE_ACCESS: answer.reject_access,
    }
    if refuses.get(event, False):
        raise HookRefusal(REFUSALS[event], answer.response)


def _checked_id(upload_id: str) -> str:
    if upload_id.startswith("/") or upload_id.endswith("/"):
        raise _invalid(f"ID must not begin or end with a forward slash (got: {upload_id})")
    if not _ID.fullmatch(upload_id):
        raise _invalid(f"ID must contain only URL-safe character: ^{_ID.pattern}$ (got: {upload_id})")
    if not is_upload_id(upload_id) or max(map(len, upload_id.split("/"))) > LONGEST_NAME:
        raise _invalid(f"ID must not be reserved (got: {upload_id})")
    return upload_id


def _invalid(reason: str) -> HookTrouble:
    return HookTrouble(f"validation error in FileInfoChanges: {reason}")
