"""Random sequences of requests, and of killed servers, against a model of what the uploads must be."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test

from tests.patching import chunked
from tests.running import CHUNK, TUS, Server, ServerStarter

sizes = st.one_of(st.integers(0, 50), st.integers(250_000, 600_000))
"""Small bodies and large ones go different ways through the server."""


@dataclass
class Modelled:
    """What an upload must be: its length (None while deferred) and the bytes that count."""

    size: int | None
    body: bytes = b""
    is_partial: bool = False
    is_final: bool = False

    @property
    def is_complete(self) -> bool:
        return len(self.body) == self.size


def some_bytes(count: int, start: int) -> bytes:
    """Bytes that differ from place to place, so that a shift would show."""
    pattern = bytes(range(251))
    return (pattern * (count // 251 + 2))[start % 251 : start % 251 + count]


class Uploading(RuleBasedStateMachine):
    server: Server
    restart: Callable[[Server], Server]

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Modelled] = {}

    @rule(target=uploads, size=st.one_of(st.none(), sizes), is_partial=st.booleans())
    def create(self, size: int | None, is_partial: bool) -> str:
        headers = {"Upload_Concat": "partial"} if is_partial else {}
        url = self.server.create(size, **headers)
        self.model[url] = Modelled(size, is_partial=is_partial)
        return url

    @rule(target=uploads, size=sizes, sent=sizes)
    def create_with_bytes(self, size: int, sent: int) -> str:
        body = some_bytes(min(size, sent), 0)
        answer = self.server.request("POST", headers=CHUNK | {"Upload-Length": str(size)}, body=body)
        assert (answer.status, answer.headers["upload-offset"]) == (201, str(len(body)))
        self.model[answer.headers["location"]] = Modelled(size, body)
        return answer.headers["location"]

    @rule(size=sizes)
    def create_with_too_many_bytes(self, size: int) -> None:
        answer = self.server.request("POST", headers=CHUNK | {"Upload-Length": str(size)}, body=bytes(size + 1))
        assert answer.status == 413

    @rule(url=uploads, count=sizes, way=st.sampled_from(["length", "chunked", "checksum", "wrong checksum"]))
    def append(self, url: str, count: int, way: str) -> None:
        upload = self.model[url]
        start = len(upload.body)
        body = some_bytes(count, start)
        headers: dict[str, str] = {}
        if "checksum" in way:
            digest = hashlib.sha256(body + (b"!" if "wrong" in way else b"")).digest()
            headers["Upload_Checksum"] = f"sha256 {b64encode(digest).decode()}"
        if way == "chunked":
            answer = chunked(self.server, url, start, [body[:10], body[10:]] if count > 10 else [body])
        else:
            answer = self.server.patch(url, start, body, **headers)
        room = None if upload.size is None else upload.size - start
        if upload.is_final:
            assert answer.status == 403
        elif room is not None and count > room:
            assert answer.status == 413
            if way == "chunked" and room:
                upload.body += body[: room - 1]
        elif "wrong" in way:
            assert answer.status == 460
        else:
            assert answer.status == 204
            upload.body += body
            assert answer.headers["upload-offset"] == str(len(upload.body))

    @rule(url=uploads, shift=st.sampled_from([-1, 1, 10**6, 2**62]))
    def append_elsewhere(self, url: str, shift: int) -> None:
        upload = self.model[url]
        offset = len(upload.body) + shift
        status = 403 if upload.is_final else 400 if offset < 0 else 409
        assert self.server.patch(url, offset, b"x").status == status

    @rule(url=uploads, more=st.integers(0, 50))
    def declare_length(self, url: str, more: int) -> None:
        upload = self.model[url]
        size = len(upload.body) + more
        answer = self.server.patch(url, len(upload.body), b"", Upload_Length=str(size))
        if upload.is_final:
            assert answer.status == 403
        elif upload.size is None:
            assert answer.status == 204
            upload.size = size
        else:
            assert answer.status == (204 if upload.size == size else 400)

    @rule(target=uploads, parts=st.lists(uploads, min_size=1, max_size=4))
    def concatenate(self, parts: list[str]) -> Any:
        answer = self.server.request("POST", headers=TUS | {"Upload-Concat": "final;" + " ".join(parts)})
        models = [self.model.get(part) for part in parts]
        if not all(model is not None and model.is_partial and model.is_complete for model in models):
            assert answer.status == 400
            return self.create(0, is_partial=False)
        body = b"".join(model.body for model in models if model is not None)
        assert answer.status == 201
        self.model[answer.headers["location"]] = Modelled(len(body), body, is_final=True)
        return answer.headers["location"]

    @rule(url=consumes(uploads))
    def terminate(self, url: str) -> None:
        assert self.server.request("DELETE", url, TUS).status == 204
        del self.model[url]
        assert self.server.request("HEAD", url, TUS).status == 404

    @rule()
    def kill_and_restart(self) -> None:
        type(self).server = self.restart(self.server)

    @rule(url=uploads)
    def look(self, url: str) -> None:
        upload = self.model[url]
        head = self.server.request("HEAD", url, TUS)
        assert (head.status, head.headers["upload-offset"]) == (200, str(len(upload.body)))
        assert head.headers.get("upload-length") == (None if upload.size is None else str(upload.size))
        assert self.server.request("GET", url).body == upload.body

    def teardown(self) -> None:
        for url in self.model:
            self.look(url)


@pytest.mark.parametrize("flags", [(), ("-durability", "each")], ids=["default", "durable"])
def test_uploads_are_what_the_model_says(
    start: ServerStarter, request: pytest.FixtureRequest, flags: tuple[str, ...]
) -> None:
    class Here(Uploading):
        server = start(*flags)

        @staticmethod
        def restart(server: Server) -> Server:
            server.kill()
            return start(*flags, port=server.port, upload_dir=server.upload_dir)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=300 if request.config.getoption("--long") else 8,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
