"""Webhooks: what becomes of files, sent to one URL in the form of Standard Webhooks."""

from __future__ import annotations

import json
import time

import httpx2

from tusd_py.core.hook_events import HookAnswer, HookCall, HookFailure
from tusd_py.core.records import timestamp
from tusd_py.hooks.signing import signature_headers, webhook_key
from tusd_py.version import __version__

_TIMEOUT = 15.0


class WebhookBackend:
    """Posts `{"type": "file.ready", "timestamp": …, "data": <the file>}`; any 2xx means that it has arrived.

    Redirects are failures, and nothing is read of an answer. Raises ValueError for a URL or a secret that cannot be
    used.
    """

    def __init__(self, url: str, *, secret: bytes | None, timeout: float = _TIMEOUT, name: str = "webhook") -> None:
        self.name = name
        try:
            self._url = httpx2.URL(url)
        except httpx2.InvalidURL:
            self._url = httpx2.URL()
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError("the URL of a webhook must be an http or https URL")
        self._key = webhook_key(secret) if secret is not None else None
        self._client = httpx2.AsyncClient(timeout=timeout, headers={"User-Agent": f"tusd-py/{__version__}"})

    async def call(self, call: HookCall) -> HookAnswer:
        kind = call.event.value.replace("-", ".")
        message = {"type": kind, "timestamp": timestamp(call.happened_at), "data": dict(call.file or {})}
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers |= signature_headers(self._key, call.id, time.time(), body)
        else:
            headers |= {"webhook-id": call.id}
        try:
            request = self._client.build_request("POST", self._url, content=body, headers=headers)
            response = await self._client.send(request, stream=True, follow_redirects=False)
            await response.aclose()
        except (httpx2.RequestError, OSError) as error:
            raise HookFailure(f"webhook could not be sent: {str(error) or type(error).__name__}") from error
        if not 200 <= response.status_code <= 299:
            raise HookFailure(f"webhook was answered with {response.status_code}")
        return HookAnswer()

    async def close(self) -> None:
        await self._client.aclose()
