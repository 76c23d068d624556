"""Hooks by gRPC, with tusd's interface and retries; needs the extra `grpc`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import grpc.aio

from tusd_py.core.go_values import format_duration
from tusd_py.core.hook_events import HookAnswer, HookCall, HookFailure
from tusd_py.hooks.forwarding import forwarded
from tusd_py.hooks.grpc_messages import METHOD, decode_response, encode_request

_RETRIED = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE})
_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 2000)]
"""A receiver that is back is asked again soon; left alone, gRPC would not even try for up to two minutes."""

_METADATA_NAME = re.compile(r"[0-9a-z_.-]+")
_RESERVED = frozenset(
    {"te", "host", "connection", "content-length", "content-type", "keep-alive", "transfer-encoding", "user-agent"}
)

PathLike = str | os.PathLike[str]


class GrpcBackend:
    """Calls the receiver at `target` (`host:port`).

    `retry` is the number of attempts in all, `backoff` the seconds between two; only what the receiver could not take
    is repeated. `timeout` is in seconds, for all attempts together. With `secure` the receiver must have the
    certificate in the file `server_certificate`, or one signed by it, and is shown the `client_certificate`, if any.

    Raises ValueError for `secure` without a certificate, and for a file that cannot be read.
    """

    def __init__(
        self,
        target: str,
        *,
        retry: int = 3,
        backoff: float = 1.0,
        secure: bool = False,
        server_certificate: PathLike | None = None,
        client_certificate: PathLike | None = None,
        client_key: PathLike | None = None,
        forward_headers: Sequence[str] = (),
        timeout: float = 15.0,
        name: str = "grpc",
    ) -> None:
        self.name = name
        self._target = target
        self._attempts = max(retry, 1)
        self._backoff = max(backoff, 0.0)
        self._forward_headers = tuple(forward_headers)
        self._timeout = timeout
        self._channel: grpc.aio.Channel | None = None
        self._credentials: grpc.ChannelCredentials | None = None
        if secure:
            if not server_certificate:
                raise ValueError("secure gRPC hooks need the certificate of the server")
            self._credentials = grpc.ssl_channel_credentials(
                root_certificates=_content(server_certificate),
                private_key=_content(client_key),
                certificate_chain=_content(client_certificate),
            )

    async def call(self, call: HookCall) -> HookAnswer:
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._ask(call)
        except TimeoutError:
            limit = format_duration(self._timeout)
            raise HookFailure(f"rpc error: code = DeadlineExceeded desc = no answer within {limit}") from None
        return decode_response(response)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def _ask(self, call: HookCall) -> bytes:
        invoke: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._open().unary_unary(METHOD)
        metadata = tuple(self._metadata(call))
        text = encode_request(call)
        attempts_left = self._attempts
        while True:
            attempts_left -= 1
            try:
                return await invoke(text, metadata=metadata, timeout=self._timeout)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _RETRIED or not attempts_left:
                    reason = f"rpc error: code = {_go_name(error.code())} desc = {error.details()}"
                    raise HookFailure(reason) from error
            await asyncio.sleep(self._backoff)

    def _open(self) -> grpc.aio.Channel:
        """With the first call: a channel belongs to the loop that it is made in."""
        if self._channel is None:
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
            else:
                self._channel = grpc.aio.secure_channel(self._target, self._credentials, options=_OPTIONS)
        return self._channel

    def _metadata(self, call: HookCall) -> Iterator[tuple[str, str | bytes]]:
        """Forwarded headers, the first value of each; what gRPC cannot carry, or says itself, is left out."""
        for header, values in forwarded(call.request, self._forward_headers):
            name, value = header.lower(), values[0]
            if not _METADATA_NAME.fullmatch(name) or name.startswith("grpc-") or name in _RESERVED:
                continue
            if name.endswith("-bin"):
                yield name, value.encode("utf-8", "surrogateescape")
            elif value.isascii() and value.isprintable():
                yield name, value


def _content(path: PathLike | None) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise ValueError(f"the file '{path}' cannot be read: {error.strerror}") from error


def _go_name(code: grpc.StatusCode) -> str:
    """A status as Go writes it: `ResourceExhausted`, and `Canceled` with one l."""
    return "Canceled" if code is grpc.StatusCode.CANCELLED else code.name.title().replace("_", "")
