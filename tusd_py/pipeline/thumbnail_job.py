"""The job of the child that makes thumbnails: an image in, smaller ones as WebP out. See `child_main`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUALITY = 80

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright again, by the orientation in its EXIF data."""


def job(descriptor: int, *, sizes: Sequence[int], max_pixels: int) -> tuple[dict[str, Any], bytes]:
    """Thumbnails that fit in squares of these `sizes`, in pixels; never larger than the image.

    Raises whatever Pillow raises, and ValueError for more than `max_pixels`.
    """
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb", closefd=False) as file, Image.open(file, formats=FORMATS) as source:
        if source.width * source.height > max_pixels:
            raise ValueError(f"{source.width} x {source.height} pixels are too many")
        image = _reduced(source, max(sizes))
    thumbnails, blobs = [], []
    for size in sorted(sizes, reverse=True):
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        blobs.append(_encoded(image))
        thumbnails.append({"size": size, "width": image.width, "height": image.height, "length": len(blobs[-1])})
    return {"thumbnails": thumbnails}, b"".join(blobs)


def _reduced(source: Image.Image, size: int) -> Image.Image:
    """The first frame, upright, in RGB or RGBA, not larger than the square. Large JPEGs are not decoded in full."""
    turn = _TURNS.get(_orientation(source))
    source.draft(None, (2 * size, 2 * size))
    source.load()
    mode = "RGBA" if source.has_transparency_data else "RGB"
    image = source if source.mode == mode else _converted(source, mode)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image.copy() if turn is None else image.transpose(turn)


def _converted(source: Image.Image, mode: str) -> Image.Image:
    if source.mode.startswith("I;16"):
        source = source.point(lambda value: value / 256, "L")
    return source.convert(mode)


def _orientation(source: Image.Image) -> int:
    """Zero where there is none, or none that can be read: that is no reason to have no thumbnail."""
    try:
        return int(source.getexif().get(_ORIENTATION, 0))
    except MemoryError:
        raise
    except Exception:
        return 0


def _encoded(image: Image.Image) -> bytes:
    """WebP with the pixels and nothing else."""
    bare = image.copy()
    bare.info = {}
    output = BytesIO()
    bare.save(output, "WEBP", quality=QUALITY, method=4, exif=b"", xmp=b"", icc_profile=b"")
    return output.getvalue()
