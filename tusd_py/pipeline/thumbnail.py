"""The step that makes thumbnails of images, and the files in which they are kept."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord, Status, Thumbnail, settled
from tusd_py.core.threads import InThread
from tusd_py.pipeline import TryLater
from tusd_py.pipeline.child import RETRY_DELAY, Child, ChildFailed, Limits
from tusd_py.pipeline.opening import opened

log = logging.getLogger("tusd_py")

TYPE = "image/webp"
LARGEST_SIZE = 4096
"""Pixels of the longer side."""

MAX_PIXELS = 64_000_000
"""Of an image to make thumbnails of: the cameras of telephones make 50 million."""

MEMORY = 768 * 1024 * 1024
"""Bytes of address space: `MAX_PIXELS` with a palette take 600 MB on their way to RGBA."""

CPU_SECONDS = 20
SECONDS = 120.0
"""A niced child may have to wait long for a processor."""

_JOB = Path(__file__).with_name("thumbnail_job.py")
_IMAGE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF[\s\S]{4}WEBP")
_HEAD_SIZE = 12
_WEBP = re.compile(rb"RIFF[\s\S]{4}WEBP")
_ENDING = ".webp"
_UNFINISHED = ".new"


@dataclass(frozen=True, slots=True)
class _Made:
    """A thumbnail and its bytes."""

    thumbnail: Thumbnail
    data: bytes


class Thumbnails:
    """Makes WebP thumbnails in `<directory>/<file id>/<size>.webp`, one child process for each image.

    `sizes` are the sides of squares in pixels that a thumbnail fits in. An image on which the child dies, or that is
    too large for it, gets no thumbnails; so does everything that is no JPEG, PNG, GIF or WebP. With `durable` they
    survive the loss of power, once a record names them.
    """

    name = "thumbnail"

    def __init__(
        self,
        sizes: Sequence[int],
        directory: Path,
        in_thread: InThread,
        *,
        durable: bool = True,
        max_pixels: int = MAX_PIXELS,
        memory: int = MEMORY,
        cpu_seconds: int = CPU_SECONDS,
        seconds: float = SECONDS,
    ) -> None:
        if not sizes or not all(1 <= size <= LARGEST_SIZE for size in sizes):
            raise ValueError(f"sizes of thumbnails must be between 1 and {LARGEST_SIZE} pixels")
        self._sizes = tuple(sorted(set(sizes)))
        self._directory = directory
        self._in_thread = in_thread
        self._durable = durable
        self._arguments = {"sizes": self._sizes, "max_pixels": max_pixels}
        # WebP is never larger than the pixels, but for its headers.
        largest_answer = sum(4 * size * size + 4096 for size in self._sizes)
        self._limits = Limits(memory=memory, cpu_seconds=cpu_seconds, seconds=seconds, answer=largest_answer)

    async def run(self, record: FileRecord) -> FileRecord:
        """See `Step`. The thumbnails are on the disk before the record that names them is returned."""
        try:
            async with opened(record.path, self._in_thread, _HEAD_SIZE) as (descriptor, head):
                made = await self._make(descriptor) if _IMAGE.match(head) else []
        except FileNotFoundError:
            return settled(record, Status.GONE)
        except ChildFailed as error:
            log.warning(LogEvent("ThumbnailsFailed", file=record.id, error=str(error)))
            made = []
        try:
            await self._in_thread(self._publish, record.id, made)
        except OSError as error:
            raise TryLater(f"the thumbnails cannot be written: {error.strerror}", delay=RETRY_DELAY) from error
        return replace(record, thumbnails=tuple(each.thumbnail for each in made))

    def path_of(self, file_id: str, size: str) -> Path:
        """Where the thumbnail is that a record names."""
        return self._directory / file_id / (size + _ENDING)

    def remove(self, file_id: str) -> None:
        """Remove the thumbnails of a file, if there are any. Blocks; after a crash it is to be called again."""
        shutil.rmtree(self._directory / file_id, ignore_errors=True)

    async def _make(self, descriptor: int) -> list[_Made]:
        """A process for each image, so that one that takes it over gets to see no other."""
        child = Child(_JOB, self._arguments, self._limits, self._in_thread)
        try:
            return self._checked(*await child.ask(descriptor))
        finally:
            await child.end()

    def _checked(self, answer: dict[str, Any], body: bytes) -> list[_Made]:
        """What the child says, believed as far as it is thumbnails of the sizes that were asked for."""
        made = []
        try:
            for each in answer["thumbnails"]:
                size, width, height, length = (int(each[name]) for name in ("size", "width", "height", "length"))
                data, body = body[:length], body[length:]
                if not (1 <= width <= size and 1 <= height <= size and _WEBP.match(data)):
                    raise ChildFailed("the answer is no thumbnail")
                made.append(_Made(Thumbnail(str(size), width, height, TYPE), data))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            raise ChildFailed("the answer makes no sense") from None
        made.reverse()
        if body or tuple(int(each.thumbnail.size) for each in made) != self._sizes:
            raise ChildFailed("the answer makes no sense")
        return made

    def _publish(self, file_id: str, made: Sequence[_Made]) -> None:
        """Put these in the place of what is there. A crash leaves old and new ones, each of them whole."""
        if not made:
            self.remove(file_id)
            return
        directory = self._directory / file_id
        self._directory.mkdir(mode=0o700, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        paths = {self.path_of(file_id, each.thumbnail.size): each.data for each in made}
        for path, data in paths.items():
            self._write(path, data)
        for path in set(directory.iterdir()) - set(paths):
            path.unlink()
        if self._durable:
            _sync(directory)
            _sync(self._directory)

    def _write(self, path: Path, data: bytes) -> None:
        unfinished = path.with_name(path.name + _UNFINISHED)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if self._durable:
                os.fsync(descriptor)
        unfinished.rename(path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
