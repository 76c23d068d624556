"""What stands in the README for those who put a CDN or a proxy in front, tested as it stands there."""

from __future__ import annotations

import base64
import hmac
import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"

STATE_DIRECTORY = "/srv/tusd-data/data/.tusd-py"
"""The state directory in the README's examples."""

FILE_ID = "f_0123456789abcdef0123456789abcdef"
OTHER_FILE_ID = "f_fedcba9876543210fedcba9876543210"


def readme_block(first_line: str) -> str:
    """The code block of the README that begins with this line."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    [block] = [block for block in blocks if block.startswith(first_line + "\n")]
    return str(block)


def signature_over(key: bytes, text: str) -> str:
    """A right signature, also over what is never signed."""
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")
