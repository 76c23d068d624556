"""What is measured: the loads, their sizes, and against whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from .contenders import API, DISK, LINKS, TLS
from .loads.bodies import Patches
from .loads.chunks import Chunks
from .loads.concatenation import Concatenation
from .loads.links import Links
from .loads.pipeline import PipelineLoad
from .loads.reads import Download, SmallReads
from .loads.saturated import Saturated
from .loads.slow import SlowUploads
from .loads.small import SmallUploads
from .measures import BYTES, FILES, REQUESTS, UPLOADS, Load, Unit
from .payload import GIB, MIB

PLAIN = ("plain",)
MANY = ("plain", "many")
OURS = ("ours",)
PIPELINE = ("ours", "ours-pipeline")
WORKERS = ("ours", "many")


@dataclass(frozen=True)
class Shape:
    """A load at its full size and at the size of a smoke test, and the groups or names of the contenders that have it
    unless others are named. The title has the load's numbers in braces. `rounds` is for what is too long for many, and
    then there is none that is dropped.
    """

    name: str
    title: str
    unit: Unit
    load: Load
    quick: Load
    contenders: Sequence[str] = PLAIN
    need: str | None = None
    rounds: int | None = None

    def titled(self, load: Load) -> str:
        """The title with the numbers of this load."""
        numbers = {field.name: getattr(load, field.name) for field in fields(load)}  # type: ignore[arg-type]
        return self.title.format(**{name: _told(name, value) for name, value in numbers.items()})


SHAPES = (
    Shape("patch", "one PATCH of {size}", BYTES, Patches(1, 512 * MIB), Patches(1, 8 * MIB), MANY),
    Shape("two", "{uploads} PATCHes of {size} at once", BYTES, Patches(2, 256 * MIB), Patches(2, 4 * MIB), MANY),
    Shape("eight", "{uploads} PATCHes of {size} at once", BYTES, Patches(8, 64 * MIB), Patches(8, MIB)),
    Shape(
        "memory",
        "{uploads} PATCHes of {size} at once, for the memory",
        BYTES,
        Patches(8, 512 * MIB),
        Patches(8, 2 * MIB),
        OURS,
        rounds=1,
    ),
    Shape(
        "pieces", "{size} in PATCHes of {piece}", BYTES, Patches(1, 256 * MIB, 5 * MIB), Patches(1, 10 * MIB, 5 * MIB)
    ),
    Shape(
        "small-8",
        "create + PATCH of {size}, {connections} at once",
        UPLOADS,
        SmallUploads(240, 8),
        SmallUploads(16, 8),
        MANY,
    ),
    Shape(
        "small-64",
        "create + PATCH of {size}, {connections} at once",
        UPLOADS,
        SmallUploads(240, 64),
        SmallUploads(64, 64),
    ),
    Shape(
        "with-8",
        "creation with {size}, {connections} at once",
        UPLOADS,
        SmallUploads(240, 8, at_once=True),
        SmallUploads(16, 8, at_once=True),
    ),
    Shape(
        "with-64",
        "creation with {size}, {connections} at once",
        UPLOADS,
        SmallUploads(240, 64, at_once=True),
        SmallUploads(64, 64, at_once=True),
    ),
    Shape(
        "sha256",
        "one PATCH of {size} with SHA-256",
        BYTES,
        Patches(1, 256 * MIB, checksum=True),
        Patches(1, 4 * MIB, checksum=True),
    ),
    Shape("tls", "one PATCH of {size} by TLS", BYTES, Patches(1, 256 * MIB), Patches(1, 4 * MIB), need=TLS),
    Shape("disk", "one PATCH of {size} to disk, flushed", BYTES, Patches(1, 256 * MIB), Patches(1, 4 * MIB), need=DISK),
    Shape(
        "disk-small",
        "create + PATCH of {size} to disk, flushed, {connections} at once",
        UPLOADS,
        SmallUploads(160, 8),
        SmallUploads(16, 8),
        need=DISK,
    ),
    Shape("concat", "concatenation of {parts} × {size}", BYTES, Concatenation(8, 128 * MIB), Concatenation(4, MIB)),
    Shape("get", "GET of {size}", BYTES, Download(512 * MIB), Download(8 * MIB)),
    Shape(
        "get-small",
        "GET of {size}, {connections} at once",
        REQUESTS,
        SmallReads("GET", 400, 8),
        SmallReads("GET", 32, 8),
    ),
    Shape("head", "HEAD, {connections} at once", REQUESTS, SmallReads("HEAD", 400, 8), SmallReads("HEAD", 32, 8), MANY),
    Shape("chunks", "{size} in chunks, {senders} senders", BYTES, Chunks(4, 512 * MIB), Chunks(4, 20 * MIB), MANY, API),
    Shape("in-order", "{size} in chunks, in order", BYTES, Chunks(1, 512 * MIB), Chunks(1, 20 * MIB), need=API),
    Shape(
        "large",
        "{size} in chunks, {senders} senders",
        BYTES,
        Chunks(4, 5 * GIB),
        Chunks(4, 40 * MIB),
        OURS,
        API,
        rounds=1,
    ),
    Shape("links", "signed links at {rate}/s", REQUESTS, Links(200, 50, 5), Links(50, 2, 0.5), OURS, LINKS, rounds=1),
    Shape(
        "slow",
        "{uploads} uploads at 16 KiB/s, {idle} idle connections",
        BYTES,
        SlowUploads(1000, 2000, 15),
        SlowUploads(20, 20, 2),
        OURS,
        rounds=1,
    ),
    Shape(
        "saturated",
        "{senders} senders of {size}, and another client's HEAD",
        BYTES,
        Saturated(4, 64 * MIB, 4),
        Saturated(2, MIB, 0.5),
        WORKERS,
        rounds=1,
    ),
    Shape(
        "pipeline",
        "{files} finished files, {rate} a second",
        FILES,
        PipelineLoad(160, 40),
        PipelineLoad(8, 20),
        PIPELINE,
        rounds=3,
    ),
    Shape(
        "pipeline-speed",
        "{files} finished files, as fast as they go through the pipeline",
        FILES,
        PipelineLoad(120, 1000),
        PipelineLoad(8, 1000),
        ("ours-pipeline",),
        rounds=3,
    ),
)


def resized(load: Load, settings: Sequence[tuple[str, float]]) -> Load:
    """The load with other sizes or counts, by the names of its fields.

    Raises:
        ValueError: it has no such number.
    """
    for name, value in settings:
        known = {field.name: type(getattr(load, field.name)) for field in fields(load)}  # type: ignore[arg-type]
        if known.get(name) not in {int, float}:
            numbers = [each for each, kind in known.items() if kind in {int, float}]
            raise ValueError(f"{name} is none of {', '.join(numbers)}")
        load = replace(load, **{name: known[name](value)})  # type: ignore[type-var]
    return load


def _told(name: str, number: object) -> str:
    """A size in the largest unit that it is a whole number of."""
    if not isinstance(number, int) or name not in {"size", "piece"}:
        return str(number)
    units = ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB"))
    return next((f"{number // unit} {name}" for unit, name in units if number and number % unit == 0), f"{number} B")
