"""`tusd-py requeue|rescan|release <file id>`: what a human may do to a file, beside a running server or without one."""

from __future__ import annotations

import asyncio
import getpass
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tusd_py.core.records import FileRecord, Status
from tusd_py.state import FORGOTTEN, State
from tusd_py.state.configured import configured_state
from tusd_py.store.quarantine import Quarantine
from tusd_py.store.records import RecordStore

P = ParamSpec("P")
T = TypeVar("T")


class Refused(Exception):
    """This cannot be done, to the file as it is or with these flags; the text says why."""


@dataclass(frozen=True, slots=True)
class FileCommand:
    """From which statuses a file may be sent through the steps again, and what is changed before."""

    statuses: frozenset[Status]
    change: Callable[[FileRecord], FileRecord]
    done: str
    help: str


def _released(record: FileRecord) -> FileRecord:
    return replace(record, released_at=time.time(), scan_result=f"released by {_user()}, was: {record.scan_result}")


def _forgotten(record: FileRecord) -> FileRecord:
    return replace(record, released_at=None, scan_result=None, thumbnails=())


COMMANDS = {
    "requeue": FileCommand(
        frozenset({Status.FAILED, Status.GONE}),
        _forgotten,
        "is tried again",
        "Try a file again that has failed, or whose bytes were gone",
    ),
    "rescan": FileCommand(
        frozenset({Status.READY, Status.QUARANTINED}),
        _forgotten,
        "is looked at again",
        "Look again at a file that is ready or in quarantine",
    ),
    "release": FileCommand(
        frozenset({Status.QUARANTINED}),
        _released,
        "is released from quarantine",
        "Take a file out of quarantine as it is",
    ),
}


def usage_of_commands(*names: str) -> str:
    """What `-help` prints of some commands."""
    lines = [f"  tusd-py {name} [flags] <file id>\n    \t{COMMANDS[name].help}" for name in names]
    return "\n".join(
        [
            "Usage of the commands for one file, beside a running server or without one:",
            *("", *lines, ""),
            "Give them those of the flags -upload-dir, -state-dir, -redis-url and -redis-prefix that the server has.",
        ]
    )


def run_file_command(name: str, file_id: str, flags: Mapping[str, Any]) -> str:
    """Put a settled file on the list of work again, and tell the servers; one that does not hear it looks each minute.

    Returns the line for the audit. Raises `Refused`, and `UploadError` for trouble with the disk.
    """
    command = COMMANDS[name]
    directory = Path(flags["upload_dir"]).absolute()
    state_directory = Path(flags["state_dir"]).absolute() if flags["state_dir"] else directory / ".tusd-py"
    durable = flags["durability"] != "none"
    records = RecordStore(state_directory, durable=durable)
    quarantine = Quarantine(state_directory / "quarantine", keep=True, durable=durable, file_mode=flags["file_perms"])
    try:
        state = configured_state(
            flags["redis_url"], flags["redis_prefix"], state_directory / "run", _at_once, lambda _: None
        )
    except ValueError as error:
        raise Refused(str(error)) from error
    record = records.load(file_id)
    if record.status not in command.statuses:
        raise Refused(f"the file is {record.status.value}")
    if quarantine.holds(file_id):
        quarantine.release(record)
    elif record.status is Status.QUARANTINED:
        raise Refused("its bytes have been deleted")
    records.reopen(command.change(record))
    asyncio.run(_tell_of_work(state))
    return f"file {file_id} (was {record.status.value}: {record.scan_result}) {command.done}, says {_user()}"


async def _tell_of_work(state: State) -> None:
    with suppress(OSError):  # where no server has ever run there is no directory for messages
        await state.start()
        state.announce(FORGOTTEN, "")
    await state.close()


async def _at_once(_path: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`Near` for a process in which nobody waits."""
    return function(*args, **kwargs)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
