"""The steps that the flags ask for."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from tusd_py.core.threads import InThread
from tusd_py.pipeline import Step, TryLater
from tusd_py.pipeline.clamd import STREAM_LIMIT, Clamd
from tusd_py.pipeline.detect import Detect, Detector, libmagic_problem
from tusd_py.pipeline.scan import Scan
from tusd_py.pipeline.thumbnail import LARGEST_SIZE, Thumbnails

CONCURRENCY = max(1, len(os.sched_getaffinity(0)) // 2)
"""Files to work on at once, unless told otherwise: half of the processors are for those who wait for answers."""


class PipelineKeywords(TypedDict, total=False):
    """The flags about what happens to finished files, as keywords; sizes in bytes, `thumbnails` in pixels, with commas.

    `clamd` is `unix:/path` or `tcp://host:port`; without it nothing is scanned.
    """

    detect: bool
    clamd: str
    scan_max_size: int
    scan_trust_limits: bool
    scan_unscannable: Literal["quarantine", "pass"]
    infected: Literal["keep", "delete"]
    post_finish_after_scan: bool
    thumbnails: str
    public_url: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps for files that came by tus and in chunks.

    `detection_problem` says why types cannot be detected; empty if they can, or nobody wants to know.
    """

    tus_steps: Sequence[Step]
    chunk_steps: Sequence[Step]
    scan: Scan | None
    thumbnails: Thumbnails | None
    detection_problem: str
    close: Callable[[], Awaitable[None]]

    async def prove(self) -> None:
        """Raises `UnsafeScanner`; one that cannot be reached is a warning, since files wait for it."""
        if self.scan is not None:
            with suppress(TryLater):
                await self.scan.prove()

    def troubles(self) -> dict[str, str]:
        """What is in the way of finished files, by part."""
        parts = {"detection": self.detection_problem, "scanner": self.scan.trouble if self.scan is not None else ""}
        return {name: trouble for name, trouble in parts.items() if trouble}


def configured_pipeline(
    keywords: PipelineKeywords,
    thumbnail_directory: Path,
    in_thread: InThread,
    in_scan_thread: InThread,
    *,
    tus_types: Collection[str],
    chunk_types: Collection[str],
    has_chunks: bool,
    durable: bool,
) -> Pipeline:
    """Chunk uploads are always looked at, tus uploads if told to or held to a list. Raises ValueError."""
    scan = thumbnails = None
    if address := keywords.get("clamd"):
        scan = Scan(
            Clamd(address, in_scan_thread, stream_limit=keywords.get("scan_max_size", STREAM_LIMIT)),
            trust_limits=keywords.get("scan_trust_limits", False),
            unscannable=keywords.get("scan_unscannable", "quarantine"),
        )
    if text := keywords.get("thumbnails", ""):
        thumbnails = Thumbnails(_sides(text), thumbnail_directory, in_thread, durable=durable)
    detector = Detector(in_thread)
    judges_tus = keywords.get("detect", False) or bool(tus_types)
    later = [step for step in (scan, thumbnails) if step is not None]
    problem = libmagic_problem() if has_chunks or judges_tus else None
    return Pipeline(
        tus_steps=[*([Detect(detector, tus_types)] if judges_tus else []), *later],
        chunk_steps=[Detect(detector, chunk_types), *later],
        scan=scan,
        thumbnails=thumbnails,
        detection_problem=problem or "",
        close=detector.close,
    )


def _sides(text: str) -> list[int]:
    sides = [int(side) if side.isascii() and side.isdigit() else 0 for side in text.split(",")]
    if not all(1 <= side <= LARGEST_SIZE for side in sides):
        raise ValueError(f"thumbnails must be sides of 1 to {LARGEST_SIZE} pixels, with commas, not {text!r}")
    return sides
