"""Small files of the kinds that a pipeline treats differently, made here, so that nothing else is needed."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass

_TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 500


@dataclass(frozen=True)
class Sample:
    name: str
    media_type: str
    data: bytes


def make_corpus() -> tuple[Sample, ...]:
    """An image, a text, a document and an archive."""
    return (
        Sample("image.png", "image/png", _png(1024, 768)),
        Sample("text.txt", "text/plain", _TEXT),
        Sample("document.pdf", "application/pdf", _pdf()),
        Sample("archive.zip", "application/zip", _zip()),
    )


def _png(width: int, height: int) -> bytes:
    """Colours that run into one another, as in a photograph."""
    lines = b"".join(
        b"\0" + bytes(channel for x in range(width) for channel in (x & 255, y & 255, (x + y) & 255))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _pdf() -> bytes:
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
    )
    text, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(text))
        text += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return (
        text
        + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            size,
            table,
            size,
            len(text),
        )
    )


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text.txt", _TEXT)
        archive.writestr("noise.bin", os.urandom(32 * 1024))
    return packed.getvalue()
