"""Signatures of HTTP hooks, after Standard Webhooks 1.0 (symmetric, `v1`)."""

from __future__ import annotations

import base64
import binascii
import hmac

_PREFIX = b"whsec_"
_SHORTEST = 24  # bytes, as the specification asks for


def webhook_key(secret: bytes) -> bytes:
    """The key that a secret stands for: base64 after `whsec_`, else its own bytes. Raises ValueError."""
    secret = secret.strip()
    key = secret
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("the secret is not base64 after 'whsec_'") from None
    if len(key) < _SHORTEST:
        raise ValueError(f"the secret must have at least {_SHORTEST} bytes")
    return key


def signature_headers(key: bytes, message_id: str, now: float, body: bytes) -> dict[str, str]:
    """What tells a receiver that the body is ours and fresh; `now` is the time of the attempt in Unix seconds."""
    timestamp = str(int(now))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    digest = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{digest}"}
