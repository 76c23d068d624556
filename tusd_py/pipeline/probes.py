"""Files with which a scanner is tried: what it calls clean although it cannot have looked into it, it does not scan.

They are made here, in memory. Two of them hold EICAR, the harmless text that all scanners report; it stands here in
base64 so that none reports this module.
"""

from __future__ import annotations

import base64
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tusd_py.pipeline.verdicts import LARGEST_SCANNED

EICAR = base64.b64decode("WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo=")

_DEEPER_THAN_ANY_LIMIT = 120
"""Archives within archives; MaxRecursion is at most 100."""


@dataclass(frozen=True, slots=True)
class Probe:
    """`remedy` is the line of clamd.conf that a daemon lacks which calls `name` clean.

    One that is not `is_required` is worth a warning. One that `needs_descriptor` is longer than could be sent.
    """

    name: str
    remedy: str
    make: Callable[[], int]
    is_required: bool = True
    needs_descriptor: bool = False


class Part(NamedTuple):
    """A member of an archive."""

    name: str
    data: bytes


def nested_archive() -> bytes:
    """EICAR in a ZIP in a compressed tar in a ZIP, so that it stands nowhere in the clear."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        inner = zipped(Part("eicar.com", EICAR))
        entry = tarfile.TarInfo("inner.zip")
        entry.size = len(inner)
        tar.addfile(entry, io.BytesIO(inner))
    return zipped(Part("middle.tar.gz", gzip.compress(packed.getvalue(), mtime=0)))


def encrypted_archive() -> bytes:
    """A ZIP whose one member is marked as encrypted, and is noise to whoever has no password."""
    archive = bytearray(zipped(Part("secret", os.urandom(64)), zipfile.ZIP_STORED))
    archive[6] |= 1
    archive[archive.rindex(b"PK\1\2") + 8] |= 1
    return bytes(archive)


def deep_archive() -> bytes:
    """Archives in archives, deeper than any scanner is allowed to follow."""
    data = b"the end"
    for _ in range(_DEEPER_THAN_ANY_LIMIT):
        data = zipped(Part("a", data), zipfile.ZIP_STORED)
    return data


def encrypted_document() -> bytes:
    """A PDF that nobody has the password of."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
        b"<</Filter/Standard/V 2/R 3/Length 128/P -4/O<%s>/U<%s>>>" % (b"41" * 32, b"42" * 32),
    )
    document, places = b"%PDF-1.4\n", b"0000000000 65535 f \n"
    for number, content in enumerate(objects, 1):
        places += b"%010d 00000 n \n" % len(document)
        document += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    ids = b"<%s><%s>" % (b"00" * 16, b"00" * 16)
    end = b"xref\n0 5\n%strailer\n<</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[%s]>>\n" % (places, ids)
    return document + end + b"startxref\n%d\n%%%%EOF\n" % len(document)


def zipped(part: Part, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(part.name, part.data)
    return packed.getvalue()


def open_eicar() -> int:
    return _in_memory(EICAR)


def _open_too_large() -> int:
    """Nothing but a hole, which takes no memory; clamd looks at the size and reads nothing."""
    descriptor = os.memfd_create("probe")
    os.truncate(descriptor, LARGEST_SCANNED + 1)
    return descriptor


def _in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("probe")
    os.write(descriptor, data)
    return descriptor


PROBES = (
    Probe("EICAR within archives", "ScanArchive yes", lambda: _in_memory(nested_archive())),
    Probe("an encrypted archive", "AlertEncrypted yes", lambda: _in_memory(encrypted_archive())),
    Probe("archives nested too deep", "AlertExceedsMax yes", lambda: _in_memory(deep_archive())),
    Probe("a file too large", "AlertExceedsMax yes", _open_too_large, needs_descriptor=True),
    Probe("an encrypted document", "AlertEncrypted yes", lambda: _in_memory(encrypted_document()), is_required=False),
)
