"""Webhooks: what becomes of files, sent to one URL in the form of Standard Webhooks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx2

from tusd_py.core.go_values import format_duration
from tusd_py.core.hook_events import HookAnswer, HookCall, HookFailure
from tusd_py.core.records import timestamp
from tusd_py.hooks.public_addresses import public_addresses
from tusd_py.hooks.signing import signature_headers, webhook_key
from tusd_py.version import __version__

_TIMEOUT = 15.0
_PORTS = {"http": 80, "https": 443}


class WebhookBackend:
    """Posts `{"type": "file.ready", "timestamp": …, "data": <the file>}`; any 2xx means that it has arrived.

    Redirects are failures, and nothing is read of an answer. With `public_only` a receiver is connected to only at an
    address of the Internet, whatever its name stands for at that moment, and never by a proxy. `timeout` is in seconds,
    for all of it. Raises ValueError for a URL or a secret that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: bytes | None,
        public_only: bool = False,
        timeout: float = _TIMEOUT,
        name: str = "webhook",
    ) -> None:
        self.name = name
        try:
            self._url = httpx2.URL(url)
            urlsplit(url)  # which looks closer at what is in brackets
        except (httpx2.InvalidURL, ValueError):
            self._url = httpx2.URL()
        if self._url.scheme not in _PORTS or not self._url.host:
            raise ValueError("the URL of a webhook must be an http or https URL")
        self._key = webhook_key(secret) if secret is not None else None
        self._public_only = public_only
        self._timeout = timeout
        self._client = httpx2.AsyncClient(
            timeout=None,  # one limit of ours stands over everything
            headers={"User-Agent": f"tusd-py/{__version__}"},
            transport=httpx2.AsyncHTTPTransport() if public_only else None,  # one of our own knows no proxies
        )

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
            async with asyncio.timeout(self._timeout):
                status = await (self._send_to_public if self._public_only else self._send)(body, headers)
        except TimeoutError:
            raise HookFailure(f"webhook was not answered within {format_duration(self._timeout)}") from None
        except (httpx2.RequestError, OSError) as error:
            raise HookFailure(f"webhook could not be sent: {str(error) or type(error).__name__}") from error
        if not 200 <= status <= 299:
            raise HookFailure(f"webhook was answered with {status}")
        return HookAnswer()

    async def close(self) -> None:
        await self._client.aclose()

    async def _send_to_public(self, body: bytes, headers: Mapping[str, str]) -> int:
        """To the address that was looked at, so that nobody can change what the name stands for in between."""
        failure: Exception = OSError(f"{self._url.host} has no public address")
        for address in await public_addresses(self._url.host, self._url.port or _PORTS[self._url.scheme]):
            try:
                return await self._send(body, {**headers, "Host": self._url.netloc.decode()}, address)
            except httpx2.ConnectError as error:
                failure = error
        raise failure

    async def _send(self, body: bytes, headers: Mapping[str, str], address: str = "") -> int:
        """The status of the answer; at `address` the certificate is still to be that of the URL's host."""
        request = self._client.build_request(
            "POST",
            self._url.copy_with(host=address) if address else self._url,
            content=body,
            headers=dict(headers),
            extensions={"sni_hostname": self._url.host} if address else None,
        )
        response = await self._client.send(request, stream=True, follow_redirects=False)
        await response.aclose()
        return response.status_code
