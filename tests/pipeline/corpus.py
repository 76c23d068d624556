"""Files of many kinds, made here, each with what has to become of it.

`corpus(500)` has every kind at least once, and then more of each with other bytes. The same call gives the same files.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from PIL import Image

OCTET_STREAM = "application/octet-stream"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT = "application/vnd.oasis.opendocument.text"

RED, BLUE = (200, 30, 30), (30, 30, 200)
"""The left and the right half of every picture, once it is upright."""

ORIENTATION = 0x0112
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera keeps an upright picture that it marks with an orientation."""


@dataclass(frozen=True)
class Sample:
    """A file, and what becomes of it where no list says which types are allowed.

    `detected` is what libmagic 5.44 makes of it. What is not `honest` has to be quarantined. `picture` is the size in
    pixels of the upright image where there have to be thumbnails.
    """

    kind: str
    claim: str
    detected: str
    content: bytes
    honest: bool = True
    picture: tuple[int, int] | None = None


def corpus(count: int = 0, claims: Collection[str] = ()) -> list[Sample]:
    """Every kind, and more of each until there are `count`; only files with one of these `claims`, if there are any."""
    samples: list[Sample] = []
    for turn in itertools.count():
        random_ = random.Random(turn)  # noqa: S311 -- the same at each call
        made = [*pictures(random_), *broken_pictures(random_), *documents(random_), *texts(random_), *liars(random_)]
        samples += [replace(each, kind=f"{each.kind} {turn}") for each in made if not claims or each.claim in claims]
        count = count or len(samples)
        if len(samples) >= count:
            return samples[:count]
    raise AssertionError


# --- pictures ---


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, (width + 1) // 2, height))
    return image.convert(mode)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    output = io.BytesIO()
    image.save(output, format_, **options)
    return output.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    """With a camera's name and place, which must not be seen in thumbnails."""
    data = Image.Exif()
    data[ORIENTATION] = orientation
    data[0x010F] = "Secret Camera"
    data.get_ifd(0x8825)[1] = "N"
    return data


def turned_jpeg(width: int, height: int, orientation: int) -> bytes:
    """Upright it is of this size."""
    stored = picture(width, height).transpose(TURNED[orientation])
    return encoded(stored, "JPEG", exif=exif(orientation))


def pictures(random_: random.Random) -> list[Sample]:
    width, height = random_.randrange(20, 900), random_.randrange(20, 900)
    size = (width, height)
    frames = [picture(height, width).resize(size)]

    def sample(kind: str, content: bytes, form: str) -> Sample:
        return Sample(kind, f"image/{form}", f"image/{form}", content, picture=size)

    return [
        sample("png", encoded(picture(*size), "PNG"), "png"),
        sample("png with transparency", encoded(picture(*size, "RGBA"), "PNG"), "png"),
        sample("png with a palette", encoded(picture(*size).quantize(8), "PNG", transparency=0), "png"),
        sample("grey png", encoded(picture(*size, "L"), "PNG"), "png"),
        sample("png of 16 bits", encoded(picture(*size, "L").convert("I;16"), "PNG"), "png"),
        sample("png with exif", encoded(picture(*size), "PNG", exif=exif()), "png"),
        sample("animated png", encoded(picture(*size), "PNG", save_all=True, append_images=frames), "png"),
        replace(sample("tall png", encoded(picture(1, 65535), "PNG"), "png"), picture=(1, 65535)),
        sample("jpeg", encoded(picture(*size), "JPEG"), "jpeg"),
        replace(sample("jpeg called jpg", encoded(picture(*size), "JPEG", quality=90), "jpeg"), claim="image/jpg"),
        sample("progressive jpeg", encoded(picture(*size), "JPEG", progressive=True), "jpeg"),
        sample("cmyk jpeg", encoded(picture(*size, "CMYK"), "JPEG"), "jpeg"),
        sample("grey jpeg", encoded(picture(*size, "L"), "JPEG"), "jpeg"),
        sample("turned jpeg", turned_jpeg(*size, 6), "jpeg"),
        sample("jpeg turned some way", turned_jpeg(*size, random_.choice(list(TURNED))), "jpeg"),
        sample("two jpegs", encoded(picture(*size), "MPO", save_all=True, append_images=frames), "jpeg"),
        sample("webp", encoded(picture(*size), "WEBP"), "webp"),
        sample("webp without loss", encoded(picture(*size, "RGBA"), "WEBP", lossless=True), "webp"),
        sample("animated webp", encoded(picture(*size), "WEBP", save_all=True, append_images=frames), "webp"),
        sample("gif", encoded(picture(*size), "GIF"), "gif"),
        sample("animated gif", encoded(picture(*size), "GIF", save_all=True, append_images=frames), "gif"),
    ]


def broken_pictures(random_: random.Random) -> list[Sample]:
    """They are what they are called, but nothing can be made of them."""
    noise = Image.frombytes("RGB", (64, 64), random_.randbytes(64 * 64 * 3))
    large = b"\xff" * 4  # width and height
    samples = [
        ("truncated png", "png", encoded(noise, "PNG")[:-2000]),
        ("truncated jpeg", "jpeg", encoded(noise, "JPEG")[:-1000]),
        ("truncated webp", "webp", encoded(noise, "WEBP", lossless=True)[:-2000]),
        ("truncated gif", "gif", encoded(noise, "GIF")[:-2000]),
        ("decompression bomb", "png", bomb() + random_.randbytes(8)),
        ("gif of 4 gigapixels", "gif", b"GIF89a%b\0\0\0,\0\0\0\0%b\0\2\1\0\0;" % (large, large) + noise.tobytes()),
        ("png without pixels", "png", png_chunks((b"IHDR", png_head(0, 9, 8)), (b"IEND", b""))),
    ]
    return [Sample(kind, f"image/{form}", f"image/{form}", content) for kind, form, content in samples]


@cache
def bomb() -> bytes:
    """50 KB that are 400 million pixels."""
    rows = zlib.compress(bytes((20_000 // 8 + 1) * 20_000))
    return png_chunks((b"IHDR", png_head(20_000, 20_000, 1)), (b"IDAT", rows), (b"IEND", b""))


def png_head(width: int, height: int, depth: int) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


# --- documents, films, archives ---


def documents(random_: random.Random) -> list[Sample]:
    noise = random_.randbytes(random_.randrange(100, 5000))
    docx = zipped({"[Content_Types].xml": b"<Types/>", "_rels/.rels": b"<R/>", "word/document.xml": noise})
    odt = zipped({"mimetype": ODT.encode(), "content.xml": noise})
    return [
        Sample("pdf", "application/pdf", "application/pdf", pdf(noise.hex())),
        Sample("zip", "application/zip", "application/zip", zipped({"a.bin": noise, "b/c.txt": b"text"})),
        Sample("zip from Windows", "application/x-zip-compressed", "application/zip", zipped({"a.bin": noise})),
        Sample("empty zip", "application/zip", "application/zip", zipped({})),
        # libmagic does not know these; the first bytes do.
        Sample("odd zip", "application/zip", "application/zip", zipped({"META-INF/container.xml": noise})),
        Sample("mp4 of a camera", "video/mp4", "video/mp4", mp4(b"XAVC", noise)),
        Sample("mp4", "video/mp4", "video/mp4", mp4(b"isom", noise)),
        Sample("mp4 of sound", "audio/mp4", "audio/x-m4a", mp4(b"M4A ", noise)),
        Sample("mp4 from a telephone", "video/mp4", "video/quicktime", mp4(b"qt  ", noise)),
        Sample("webm", "video/webm", "video/webm", matroska(b"webm", noise)),
        Sample("matroska called webm", "video/webm", "video/x-matroska", matroska(b"matroska", noise)),
        Sample("docx", DOCX, DOCX, docx),
        Sample("docx called zip", "application/zip", DOCX, docx),
        Sample("odt", ODT, ODT, odt),
        Sample("unknown bytes", OCTET_STREAM, OCTET_STREAM, b"\0\1\2\3" + noise),
        Sample("png called nothing", OCTET_STREAM, "image/png", encoded(picture(30, 20), "PNG"), picture=(30, 20)),
        Sample("bytes of an unknown type", "application/x-made-up", OCTET_STREAM, b"\0\1\2\3" + noise),
    ]


def zipped(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, stored)
    return output.getvalue()


def pdf(text: str) -> bytes:
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R>>",
        f"<</Length {len(text) + 2}>>stream\n% {text}\nendstream",
    ]
    content, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(content))
        content += f"{number} 0 obj\n{each}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 5\n0000000000 65535 f \n{table}trailer\n<</Size 5/Root 1 0 R>>\nstartxref\n{len(content)}\n%%EOF\n"
    return content + end.encode()


def mp4(brand: bytes, noise: bytes) -> bytes:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    header = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, 0) + bytes(76) + struct.pack(">I", 2))
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"moov", header) + box(b"mdat", noise)


def matroska(kind: bytes, noise: bytes) -> bytes:
    def element(number: str, content: bytes) -> bytes:
        return bytes.fromhex(number) + bytes([0x80 | len(content)]) + content

    numbers = {"4286": 1, "42f7": 1, "42f2": 4, "42f3": 8}
    head = b"".join(element(number, bytes([value])) for number, value in numbers.items()) + element("4282", kind)
    segment_of_unknown_size = bytes.fromhex("1853806701ffffffffffffff")
    return element("1a45dfa3", head) + segment_of_unknown_size + noise


# --- text ---

SCRIPT = "#!/bin/sh\n# How to say hello:\necho hello\n"
SVG = '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>\n'
HTML = "<!DOCTYPE html><html><body><script>alert(1)</script></body></html>\n"
PYTHON = "import os\n\n\ndef main():\n    print(os.getcwd())\n"
JAVASCRIPT = "'use strict';\nconst fs = require('fs');\nmodule.exports = function () { return fs };\n"


def texts(random_: random.Random) -> list[Sample]:
    number = random_.randrange(10**6)
    rows = [[number + row, row * row, row % 7] for row in range(50)]
    csv = "number,square,rest\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    lines = "\n".join(json.dumps({"row": row}) for row in rows) + "\n"
    samples = [
        # kind, claim, detected, text
        ("text", "text/plain", "text/plain", f"Hello, this is number {number}.\n"),
        ("text in German", "text/plain; charset=utf-8", "text/plain", f"Schöne Grüße Nr. {number} für 5 €.\n"),
        ("text of one letter", "text/plain", OCTET_STREAM, random_.choice("abc")),
        ("text like a shell script", "text/plain", "text/x-shellscript", SCRIPT + f"# {number}\n"),
        ("text like Python", "text/plain", "text/x-script.python", PYTHON + f"# {number}\n"),
        ("text like HTML", "text/plain", "text/html", HTML + str(number)),
        ("text like CSV", "text/plain", "text/csv", csv),
        ("text like JSON", "text/plain", "application/json", json.dumps(rows)),
        ("text like a plotter's", "text/plain", "application/vnd.hp-hpgl", f"SPDX-License-Identifier: MIT-{number}\n"),
        ("text like a picture", "text/plain", "image/x-portable-greymap", f"P5 is the {number}th point of the list.\n"),
        ("text like a letter", "text/plain", "message/rfc822", f"From: a@example.org\nSubject: {number}\n\nHello\n"),
        ("csv", "text/csv", "text/csv", csv),
        ("csv with one column", "text/csv", "text/plain", f"number\n{number}\n"),
        ("csv from Windows", "application/vnd.ms-excel", "text/csv", csv),
        ("json", "application/json", "application/json", json.dumps({"rows": rows})),
        ("json of one digit", "application/json", OCTET_STREAM, str(number % 10)),
        ("lines of json", "application/x-ndjson", "application/x-ndjson", lines),
        ("JavaScript", "text/javascript", "application/javascript", JAVASCRIPT + f"// {number}\n"),
        ("TypeScript as browsers call it", "video/mp2t", "application/javascript", JAVASCRIPT + f"// {number}\n"),
        ("svg", "image/svg+xml", "image/svg+xml", SVG + f"<!-- {number} -->"),
        ("svg without a declaration", "image/svg+xml", "text/plain", f"<!-- {number} -->\n<svg/>\n"),
        ("html", "text/html", "text/html", HTML + str(number)),
        ("piece of html", "text/html", "text/plain", f"<p>Hello {number}</p>\n"),
        ("xml", "application/xml", "text/xml", f'<?xml version="1.0"?>\n<a>{number}</a>\n'),
    ]
    empty = [
        Sample(f"nothing called {claim}", claim, "application/x-empty", b"")
        for claim in ("image/png", "text/plain", "application/zip", OCTET_STREAM)
    ]
    return [Sample(kind, claim, detected, text.encode()) for kind, claim, detected, text in samples] + empty


# --- what is called something that it is not ---


def liars(random_: random.Random) -> list[Sample]:
    noise = random_.randbytes(random_.randrange(500, 5000))
    elf, pe = program() + noise, windows_program() + noise
    jpeg = encoded(picture(random_.randrange(20, 200), 30), "JPEG")
    portable = "application/vnd.microsoft.portable-executable"
    samples = [
        # kind, claim, detected, content
        ("Linux program called png", "image/png", "application/x-executable", elf),
        ("Linux program called text", "text/plain", "application/x-executable", elf),
        ("Linux program of an unknown type", "application/x-made-up", "application/x-executable", elf),
        ("Windows program called png", "image/png", portable, pe),
        ("Windows program called pdf", "application/pdf", portable, pe),
        ("Windows program called mp4", "video/mp4", portable, pe),
        ("script called gif", "image/gif", "text/x-shellscript", SCRIPT.encode() + noise.hex().encode()),
        ("page called jpeg", "image/jpeg", "text/html", HTML.encode() + noise.hex().encode()),
        ("drawing called png", "image/png", "image/svg+xml", SVG.encode() + noise.hex().encode()),
        ("jpeg called png", "image/png", "image/jpeg", jpeg),
        ("jpeg called text", "text/plain", "image/jpeg", jpeg),
        ("zip called jpeg", "image/jpeg", "application/zip", zipped({"a": noise})),
        ("pdf called webp", "image/webp", "application/pdf", pdf(noise.hex())),
        ("pdf called zip", "application/zip", "application/pdf", pdf(noise.hex())),
        ("unknown bytes called png", "image/png", OCTET_STREAM, b"\0\1\2\3" + noise),
        ("unknown bytes called pdf", "application/pdf", OCTET_STREAM, b"\0\1\2\3" + noise),
        ("unknown bytes called zip", "application/zip", OCTET_STREAM, b"\0\1\2\3" + noise),
        ("unknown bytes called mp4", "video/mp4", OCTET_STREAM, b"\0\1\2\3" + noise),
        ("text called webm", "video/webm", "text/plain", f"Hello {noise.hex()}\n".encode()),
    ]
    # A picture stays one, whatever it is called; detection comes before thumbnails, so it gets none.
    return [Sample(kind, claim, detected, content, honest=False) for kind, claim, detected, content in samples]


def program() -> bytes:
    """A whole program for Linux on x86-64: it exits with status 7."""
    code = b"\xb8\x3c\0\0\0\xbf\x07\0\0\0\x0f\x05"
    start, size = 0x400000, 64 + 56 + len(code)
    head = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, start + 64 + 56, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 0x1000)
    return b"\x7fELF\2\1\1".ljust(16, b"\0") + head + segment + code


def windows_program() -> bytes:
    dos = b"MZ" + bytes(58) + struct.pack("<I", 0x80) + bytes(64)
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 0xF0, 0x22)
    return dos + b"PE\0\0" + coff + struct.pack("<H", 0x20B) + bytes(300)
