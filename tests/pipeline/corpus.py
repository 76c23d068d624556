"""Files of many kinds, made here, each with what has to become of it.

`corpus(500)` has every kind at least once, and then more of each with other bytes; the same call gives the same files.
"""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

OCTET_STREAM = "application/octet-stream"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT = "application/vnd.oasis.opendocument.text"
MAX_PIXELS = 64_000_000
"""The largest image that the corpus expects thumbnails of."""

RED, BLUE = (200, 30, 30), (30, 30, 200)
"""The colours of the left and the right half of each picture, before a camera turned it."""


@dataclass(frozen=True)
class Sample:
    """A file, and its fate without a list of allowed types.

    `detected` is what libmagic 5.44 says. `is_honest` is False for what has to be quarantined. `picture` is the size
    in pixels of the upright image that thumbnails are made of, None where there are to be none.
    """

    kind: str
    content: bytes
    claim: str
    detected: str
    is_honest: bool = True
    picture: tuple[int, int] | None = None
    name: str = ""


Maker = Callable[[random.Random], Sample]
_MAKERS: list[Maker] = []


def corpus(count: int = 0, claims: Sequence[str] = ()) -> list[Sample]:
    """Every kind once, then again until there are `count` files; only with these `claims`, if any are given."""
    samples: list[Sample] = []
    for sample in _samples():
        if len(samples) >= count and sample.name.startswith("1-"):
            break
        if not claims or sample.claim in claims:
            samples.append(sample)
            if len(samples) == count and not sample.name.startswith("0-"):
                break
    return samples


def _samples() -> Iterator[Sample]:
    number = 0
    while True:
        for index, maker in enumerate(_MAKERS):
            sample = maker(random.Random(1000 * number + index))
            yield replace(sample, name=f"{number}-{sample.kind}")
        number += 1
