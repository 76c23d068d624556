"""The step that looks at the bytes for what they are, and holds back what is called something else.

libmagic runs in one long-lived niced child process. Its usual answer takes 1 to 10 ms, but a file made for it costs
half a second of processor time in 1 MiB (nothing but line ends, measured with 5.44), a call cannot be interrupted in a
thread, and its parsers have had errors that a stranger's file could use.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tusd_py.core.headers import media_type
from tusd_py.core.records import FileRecord, Status, settled
from tusd_py.core.threads import InThread
from tusd_py.core.types import EMPTY, HEAD_SIZE, judge, refined
from tusd_py.pipeline import TryLater
from tusd_py.pipeline.child import Child, ChildFailed, Limits
from tusd_py.pipeline.opening import opened

LOOKED_AT = 1024 * 1024
"""Bytes at the beginning of a file that libmagic sees."""

RETRY_DELAY = 30.0
"""Seconds until a file tries again whether libmagic has been installed."""

LIMITS = Limits(memory=512 * 1024 * 1024, cpu_seconds=10, seconds=60.0, answer=64 * 1024)

_JOB = Path(__file__).with_name("detect_job.py")


def libmagic_problem() -> str | None:
    """Why nothing can be detected here, as a sentence that says what to install; None if it can."""
    try:
        magic = importlib.import_module("magic")
    except ImportError as error:
        return f"libmagic cannot be loaded ({error}); install it, on Debian and Ubuntu: apt-get install libmagic1"
    try:
        magic.Magic(mime=True)
    except Exception as error:
        return (
            f"libmagic does not work ({error}); it needs its database, on Debian and Ubuntu: apt-get install libmagic1 "
            "libmagic-mgc, and the Python package python-magic, not one of the others named magic"
        )
    return None


class Detector:
    """libmagic in a child process, which is started with the first file; for any number of callers, one at a time."""

    def __init__(self, in_thread: InThread, *, limits: Limits = LIMITS) -> None:
        self._in_thread = in_thread
        self._child = Child(_JOB, {"head": LOOKED_AT}, limits, in_thread)
        self._turn = asyncio.Lock()

    async def detect(self, path: str) -> str:
        """The media type of a file, in lower case.

        Raises FileNotFoundError, `ChildFailed` for a file that the detector does not survive, and `TryLater` for
        trouble that need not be the file's fault.
        """
        async with opened(path, self._in_thread, HEAD_SIZE) as (descriptor, head):
            if not head:
                return EMPTY
            async with self._turn:
                answer = await self._ask(descriptor)
        return refined(media_type(answer), head)

    async def close(self) -> None:
        """End the child process."""
        async with self._turn:
            await self._child.end()

    async def _ask(self, descriptor: int) -> str:
        try:
            answer, _body = await self._child.ask(descriptor)
        except ChildFailed as error:
            if not error.may_pass:
                raise
            if problem := await self._in_thread(libmagic_problem):
                raise TryLater(problem, delay=RETRY_DELAY) from error
            raise TryLater(f"the detector failed: {error}") from error
        return str(answer.get("type"))


class Detect:
    """The step. It sets `detected_type`, and quarantines what contradicts its claim or is not one of `allowed_types`.

    An empty list allows everything.
    """

    name = "detect"

    def __init__(self, detector: Detector, allowed_types: Collection[str] = ()) -> None:
        self._detector = detector
        self._allowed_types = frozenset(allowed_types)

    async def run(self, record: FileRecord) -> FileRecord:
        """See `Step`. A file on which the detector dies, or works without end, is quarantined too."""
        try:
            detected = await self._detector.detect(record.path)
        except FileNotFoundError:
            return settled(record, Status.GONE)
        except ChildFailed as error:
            return settled(record, Status.QUARANTINED, f"type: the detector failed on the file: {error}")
        record = replace(record, detected_type=detected)
        reason = judge(record.content_type, detected, self._allowed_types)
        return record if reason is None else settled(record, Status.QUARANTINED, f"type: {reason}")
