"""Signed links: the query of a URL that lets its holder download one file, for a while.

A link is `<file id>?expires=<unix seconds>&sig=<signature>`, where the signature is the URL-safe, unpadded base64 of
HMAC-SHA256("<file id>:<expires>"). So an edge of a CDN can check it with one HMAC for each key, without asking us. For
a thumbnail, `<file id>/thumbnail/<size>` stands in the place of the file id.

The query is compared as it was sent. Nothing in it is decoded, so no two readers can understand it differently, and a
link has one spelling only but for the order of the two parameters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from itsdangerous import Signer

from tusd_py.core import errors
from tusd_py.core.errors import UploadError

LONGEST_LIFETIME = 10**9 - 1
"""Seconds that may be asked for; how many are given is the operator's word."""

_LIFETIME = re.compile(r"ttl=([1-9][0-9]{0,8})")
_EXPIRES = re.compile(r"[0-9]{1,19}")
# The last of 43 characters has four bits of the digest; itsdangerous would not mind the other two.
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


class LinkSigner:
    """Makes and checks links with `keys`, oldest first: the newest one signs, a signature of any of them is good."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        # No derivation, so that the HMAC key is the line in the key file.
        self._signer = Signer(keys, key_derivation="none", digest_method=hashlib.sha256)

    def sign(self, subject: str, expires: int) -> str:
        """The signature over what may be downloaded and until when, in Unix seconds."""
        return self._signer.get_signature(f"{subject}:{expires}").decode()

    def query(self, subject: str, expires: int) -> str:
        """What follows the question mark in a link."""
        return f"expires={expires}&sig={self.sign(subject, expires)}"

    def verify(self, subject: str, query: str, now: float) -> None:
        """Check a request for `subject` with this raw query at `now`, in Unix seconds; takes constant time for a key.

        Raises 400 for a parameter that stands twice, 403 for everything else but a good link.
        """
        pairs = [pair.partition("=") for pair in query.split("&")]
        parameters = {name: value for name, _, value in pairs}
        if len(parameters) < len(pairs):
            raise UploadError(errors.INVALID_QUERY)
        expires, signature = parameters.pop("expires", ""), parameters.pop("sig", "")
        if parameters or not _EXPIRES.fullmatch(expires) or not _SIGNATURE.fullmatch(signature):
            raise UploadError(errors.INVALID_LINK, reason="malformed")
        if not self._signer.verify_signature(f"{subject}:{expires}", signature):
            raise UploadError(errors.INVALID_LINK, reason="signature")
        if now >= int(expires):
            raise UploadError(errors.INVALID_LINK, reason="expired")


def parse_lifetime(query: str) -> int | None:
    """The seconds for which a request with this raw query wants a link; None if it does not say. Raises 400."""
    if not query:
        return None
    if (match := _LIFETIME.fullmatch(query)) is None:
        raise UploadError(errors.INVALID_QUERY)
    return int(match[1])
