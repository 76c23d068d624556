"""Hooks by HTTP: every event is a POST to one endpoint, with tusd's retries, checks and error texts."""

from __future__ import annotations

import asyncio
import base64
import time
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx2

from tusd_py.core.go_values import format_duration
from tusd_py.core.headers import media_type
from tusd_py.core.hook_events import HookAnswer, HookCall, HookFailure, without_headers
from tusd_py.core.hook_json import decode_answer, encode_call
from tusd_py.hooks.forwarding import CREDENTIALS, forwarded
from tusd_py.hooks.signing import signature_headers, webhook_key
from tusd_py.version import __version__

_MOST_REDIRECTS = 10
_REPEATED, _TURNED_INTO_GET = frozenset({307, 308}), frozenset({301, 302, 303})
_IDLE = 3.0
"""Seconds that a connection is kept; fewer than after which receivers commonly close it, so that none is met dead."""

_OURS = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "content-type", "expect", "host", "keep-alive"),
        *("te", "trailer", "transfer-encoding", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)
"""Headers that belong to our request and its connection, so that no client's can take their place."""

_NETWORK_ERRORS = (httpx2.RequestError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    content_type: str
    body: bytes


class HttpBackend:
    """Sends events to `endpoint`; proxies of the environment are honoured.

    `retry` is the number of attempts in all, `backoff` the seconds between two, `timeout` the seconds for all of them
    and for reading the answer (0 and less: no hook ever succeeds, as with tusd); of an answer at most `size_limit`
    bytes are taken. Attempts are repeated after network errors and statuses from 500. With `secret` requests are
    signed. Raises ValueError for an endpoint or a secret that cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        forward_headers: Sequence[str] = (),
        retry: int = 3,
        backoff: float = 1.0,
        timeout: float = 15.0,
        size_limit: int = 5120,
        skip_verify: bool = False,
        secret: bytes | None = None,
        name: str = "http",
    ) -> None:
        self.name = name
        self._url = _usable(endpoint)
        self._forward_headers = tuple(forward_headers)
        self._private = CREDENTIALS | {header.lower() for header in forward_headers}
        self._attempts = max(retry, 1)
        self._backoff = max(backoff, 0.0)
        self._timeout = timeout
        self._size_limit = size_limit
        self._key = webhook_key(secret) if secret is not None else None
        self._client = httpx2.AsyncClient(
            verify=not skip_verify,
            timeout=None,  # one limit of ours stands over all attempts
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=_IDLE),
            headers={"User-Agent": f"tusd-py/{__version__}", "Accept-Encoding": "gzip"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # what one answer sets is for no other call
        )

    async def call(self, call: HookCall) -> HookAnswer:
        too_late = HookFailure(f"hook endpoint did not answer within {format_duration(self._timeout)}")
        if self._timeout <= 0:
            raise too_late
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._ask(call)
        except TimeoutError:
            raise too_late from None
        return self._checked(response)

    async def close(self) -> None:
        await self._client.aclose()

    def _checked(self, response: _Response) -> HookAnswer:
        """The answer, if it is one: these are tusd's checks, in tusd's order and words."""
        if not 200 <= response.status <= 299:
            text = response.body.decode("utf-8", "replace")
            raise HookFailure(f"unexpected response code from hook endpoint ({response.status}): {text}")
        if len(response.body) > self._size_limit:
            raise _useless(f"hook response exceeded maximum size of {self._size_limit} bytes")
        if not response.content_type:
            raise _useless("hook response does not contain the 'Content-Type: application/json' header")
        if media_type(response.content_type) != "application/json":
            expected = "expected hook response Content-Type to be application/json"
            raise _useless(f"{expected}, but got '{response.content_type}'")
        return decode_answer(response.body)

    # --- attempts ---

    async def _ask(self, call: HookCall) -> _Response:
        attempts_left = self._attempts
        while True:
            attempts_left -= 1
            try:
                async with self._sent(call) as response:
                    if response.status_code < 500 or not attempts_left:
                        return await self._read(response)
            except _NETWORK_ERRORS as error:
                if not attempts_left:
                    reason = str(error) or type(error).__name__
                    raise HookFailure(f"hook endpoint could not be asked: {reason}") from error
            await asyncio.sleep(self._backoff)

    async def _read(self, response: httpx2.Response) -> _Response:
        """One byte more than is allowed shows that an answer is too long; what is packed is not unpacked further."""
        most = max(self._size_limit, 0) + 1
        is_packed = response.headers.get("content-encoding", "").lower() == "gzip"
        unpacking = zlib.decompressobj(wbits=31)
        body = b""
        try:
            async for piece in response.aiter_raw():
                body += unpacking.decompress(piece, most - len(body)) if is_packed else piece
                if len(body) >= most:
                    break
            else:
                if is_packed and not unpacking.eof:
                    raise _useless("hook response could not be read: its gzip data ends too soon")
        except (zlib.error, httpx2.RequestError) as error:
            raise HookFailure(
                f"hook response could not be read: {error}", was_received=200 <= response.status_code <= 299
            ) from error
        return _Response(response.status_code, response.headers.get("content-type", ""), body[:most])

    # --- redirects ---

    @asynccontextmanager
    async def _sent(self, call: HookCall) -> AsyncIterator[httpx2.Response]:
        """Send the call and follow redirects as Go does: 301, 302 and 303 turn it into a GET, 307 and 308 repeat it.

        Only the endpoint's own host is shown the client's credentials, and those of the endpoint's URL.
        """
        method, url = "POST", self._url
        for _ in range(_MOST_REDIRECTS):
            request = self._request(method, url, call)
            response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                location = response.headers.get("location", "")
                if not location or response.status_code not in _REPEATED | _TURNED_INTO_GET:
                    yield response
                    return
            finally:
                await response.aclose()
            method = method if response.status_code in _REPEATED else "GET"
            url = _usable(location, url)
        raise httpx2.TooManyRedirects(f"stopped after {_MOST_REDIRECTS} redirects")

    def _request(self, method: str, url: httpx2.URL, call: HookCall) -> httpx2.Request:
        is_at_home = _is_same_place(self._url, url)
        shown = call if is_at_home else without_headers(call, self._private)
        body = encode_call(shown) if method == "POST" else b""
        headers = [
            (name.encode(), value.encode("utf-8", "surrogateescape"))
            for name, values in forwarded(shown.request, self._forward_headers)
            if name.lower() not in _OURS
            for value in values
        ]
        if is_at_home and self._url.userinfo and not any(name.lower() == b"authorization" for name, _ in headers):
            headers.append((b"Authorization", _basic(self._url)))
        ours: Mapping[str, str] = {"Content-Type": "application/json"} if body else {}
        if self._key is not None:
            ours = {**ours, **signature_headers(self._key, call.id, time.time(), body)}
        headers += [(name.encode(), value.encode()) for name, value in ours.items()]
        return self._client.build_request(method, url.copy_with(userinfo=b""), headers=headers, content=body or None)


def _usable(address: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """The address as seen from `base`. Raises ValueError."""
    try:
        url = base.join(address) if base is not None else httpx2.URL(address)
        urlsplit(address)  # which looks closer at what is in brackets
    except (httpx2.InvalidURL, ValueError):
        url = httpx2.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("hook endpoint must be an http or https URL")
    return url


def _is_same_place(home: httpx2.URL, url: httpx2.URL) -> bool:
    """The same origin, or the same host by TLS."""
    if (home.scheme, home.host, home.port) == (url.scheme, url.host, url.port):
        return True
    return home.host == url.host and (home.scheme, url.scheme, home.port, url.port) == ("http", "https", None, None)


def _basic(url: httpx2.URL) -> bytes:
    return b"Basic " + base64.b64encode(f"{url.username}:{url.password}".encode())


def _useless(reason: str) -> HookFailure:
    """The receiver took the event, but said nothing that could be used."""
    return HookFailure(reason, was_received=True)
