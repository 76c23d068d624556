"""Headers and metadata may be a mebibyte long, and what reads them runs on the event loop."""

import subprocess
import sys

from tests.running import DEADLINE

READ_ALL = """
from contextlib import suppress
from tusd_py.core import disposition, go_values, headers, links, ranges
from tusd_py.core.errors import UploadError

PIECES = " ", "a", "1", ";", "; ", "a=b;", ",", "a YQ==,", '"', '";a="', "\\\\", "=", "-", "/", "%41", "[", "Sun, "
ENDS = "", "x", "\\x00"
READERS = (
    lambda text: disposition.content_type({"filetype": "a" + text}),
    lambda text: disposition.content_type({"filetype": "a;a=" + text}),
    lambda text: disposition.content_disposition({"filename": text}),
    lambda text: ranges.parse_range("bytes=" + text, 10),
    lambda text: ranges.parse_range("bytes=0" + text, 10),
    lambda text: ranges.failed_condition(ranges.Conditions(if_match=text, if_modified_since=text), 0.0),
    lambda text: ranges.range_applies(ranges.Conditions(if_range=text), 0.0),
    lambda text: go_values.parse_duration(text),
    lambda text: go_values.parse_integer(text),
    lambda text: headers.media_type(text),
    lambda text: headers.parse_metadata(text),
    lambda text: headers.parse_checksum("sha1 " + text),
    lambda text: headers.parse_concat("final;" + text),
    lambda text: links.LinkSigner([b"k" * 32]).verify("f_1", text, 0.0),
)
for reader in READERS:
    for piece in PIECES:
        for end in ENDS:
            with suppress(UploadError, ValueError):
                reader(piece * (2**18 // len(piece)) + end)
"""


def test_no_text_takes_longer_to_read_than_in_proportion_to_its_length() -> None:
    """Where the time grows with the square of the length, each of these takes minutes."""
    subprocess.run([sys.executable, "-c", READ_ALL], check=True, timeout=6 * DEADLINE)
