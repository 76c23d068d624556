"""`tusd-py requeue|rescan|release <file id>`: what a human may do to a file, beside a running server or without one."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tusd_py.core.records import FileRecord, Status
from tusd_py.store.quarantine import Quarantine
from tusd_py.store.records import RecordStore


class Refused(Exception):
    """The file is not in a state for this; the text says why."""


@dataclass(frozen=True, slots=True)
class FileCommand:
    """From which statuses a file may be sent through the steps again, and what is changed before."""

    statuses: frozenset[Status]
    change: Callable[[FileRecord], FileRecord]
    done: str


def _released(record: FileRecord) -> FileRecord:
    return replace(record, released_at=time.time(), scan_result=f"released by {_user()}, was: {record.scan_result}")


def _forgotten(record: FileRecord) -> FileRecord:
    return replace(record, released_at=None, scan_result=None, thumbnails=())


COMMANDS = {
    "requeue": FileCommand(frozenset({Status.FAILED, Status.GONE}), _forgotten, "is tried again"),
    "rescan": FileCommand(frozenset({Status.READY, Status.QUARANTINED}), _forgotten, "is looked at again"),
    "release": FileCommand(frozenset({Status.QUARANTINED}), _released, "is released from quarantine"),
}


def run_file_command(name: str, file_id: str, flags: Mapping[str, Any]) -> str:
    """Put a settled file on the list of work again; a server takes it from there within a minute.

    Returns the line for the audit. Raises `Refused`, and `UploadError` for trouble with the disk.
    """
    command = COMMANDS[name]
    directory = Path(flags["upload_dir"]).absolute()
    state_directory = Path(flags["state_dir"]).absolute() if flags["state_dir"] else directory / ".tusd-py"
    durable = flags["durability"] != "none"
    records = RecordStore(state_directory, durable=durable)
    quarantine = Quarantine(state_directory / "quarantine", keep=True, durable=durable, file_mode=flags["file_perms"])
    record = records.load(file_id)
    if record.status not in command.statuses:
        raise Refused(f"the file is {record.status.value}")
    if quarantine.holds(file_id):
        quarantine.release(record)
    elif record.status is Status.QUARANTINED:
        raise Refused("its bytes have been deleted")
    records.reopen(command.change(record))
    return f"file {file_id} (was {record.status.value}: {record.scan_result}) {command.done}, says {_user()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
