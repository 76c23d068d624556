"""Speaking the JSON API to a running server, as a script would."""

from __future__ import annotations

import http.client
import json
import random
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chunked import fields_of, sha256, state_of
from tests.running import Answer, Server, eventually, request_head, start_server

CHUNK = 64 * 1024
"""Bytes of a chunk on the servers of these tests, which are started with SMALL_CHUNKS."""

SMALL_CHUNKS = ("-chunk-size", str(CHUNK))


def some_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes that do not repeat, and are the text that `announcement` says."""
    return random.Random(seed).randbytes(-(-size // 2)).hex()[:size].encode()  # noqa: S311 -- no secret


def announcement(data: bytes, **fields: Any) -> dict[str, Any]:
    """What announces a file with these bytes; a field that is None is left out."""
    known = {"fileName": "a.txt", "fileSize": len(data), "contentType": "text/plain", "checksum": sha256(data)}
    return {name: value for name, value in (known | fields).items() if value is not None}


class ApiClient:
    """The API of a server; `key` goes along with every request."""

    def __init__(self, server: Server, path: str = "/api", key: str | None = None) -> None:
        self.server = server
        self._path = path
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; `path` follows the API's own."""
        return self.server.request(method, self._path + path, self._headers | dict(headers or {}), body)

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """The object that a request is answered with; it must be a success."""
        answer = self.call(method, path)
        assert answer.status == 200, answer
        return fields_of(answer)

    def announce(self, fields: object) -> Answer:
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        return self.call("POST", "/uploads/initiate", body, {"Content-Type": "application/json"})

    def initiate(self, data: bytes, **fields: Any) -> str:
        """Begin an upload of these bytes and return its id."""
        answer = self.announce(announcement(data, **fields))
        assert answer.status == 201, answer
        return str(fields_of(answer)["uploadId"])

    def put(self, upload_id: str, number: int | str, chunk: bytes, checksum: str | None = None) -> Answer:
        """Send these bytes as one chunk, with their own checksum unless another one is given."""
        headers = {"X-Chunk-Checksum": sha256(chunk) if checksum is None else checksum}
        return self.call("PUT", f"/uploads/{upload_id}/chunks/{number}", chunk, headers)

    def send(self, upload_id: str, data: bytes, numbers: Iterable[int] | None = None) -> None:
        """Send the chunks of the whole, in order or in the order that is given."""
        for number in range(-(-len(data) // CHUNK)) if numbers is None else numbers:
            answer = self.put(upload_id, number, chunk_of(data, number))
            assert answer.status == 200, answer
            assert fields_of(answer) == {"status": "chunk_received", "chunkNum": number}, answer

    def status(self, upload_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/uploads/{upload_id}/status")

    def complete(self, upload_id: str) -> Answer:
        return self.call("POST", f"/uploads/{upload_id}/complete")

    def upload(self, data: bytes, **fields: Any) -> tuple[str, str]:
        """Do the whole; the ids of the upload and of the file that it has become, once that is ready."""
        upload_id = self.initiate(data, **fields)
        self.send(upload_id, data)
        answer = self.complete(upload_id)
        assert answer.status == 200, answer
        file_id = str(fields_of(answer)["fileId"])
        self.await_status(file_id)
        return upload_id, file_id

    def file(self, file_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/files/{file_id}")

    def await_status(self, file_id: str, status: str = "ready") -> None:
        """Wait until the file is settled so, and nobody works on it any more."""
        eventually(lambda: self.file(file_id)["status"] == status)
        eventually(lambda: not (state_of(self.server) / "pending" / f"{file_id}.json").exists())

    def link(self, upload_id: str, query: str = "") -> str:
        """A signed link, by the id of the upload."""
        return str(self.ask("GET", f"/uploads/{upload_id}/download{query}")["downloadUrl"])

    def put_head(self, upload_id: str, number: int, chunk: bytes, **headers: str) -> bytes:
        """The head of a PUT as it goes over the wire, for a chunk that is sent otherwise than at once."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {"Content-Length": str(len(chunk)), "X-Chunk-Checksum": sha256(chunk)} | named
        return request_head("PUT", f"{self._path}/uploads/{upload_id}/chunks/{number}", fields)


@contextmanager
def served(upload_dir: Path, *flags: str) -> Iterator[ApiClient]:
    """The API of a server with small chunks, which must have logged no traceback in the end."""
    server = start_server(upload_dir, *SMALL_CHUNKS, *flags)
    try:
        yield ApiClient(server)
        assert "Traceback" not in server.output()
    finally:
        server.close()


def chunk_of(data: bytes, number: int) -> bytes:
    return data[number * CHUNK : (number + 1) * CHUNK]


def error_of(answer: Answer) -> tuple[int, str]:
    """Status and code of an error, which has a sentence as well."""
    error = fields_of(answer)
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(error["error"], str)
    assert error["error"]
    return answer.status, str(error["code"])


def read_answer(connection: socket.socket) -> Answer:
    """One whole answer to what was sent on a raw connection, which may go on after it."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, names, response.read())


def key_file(folder: Path, *keys: str) -> Path:
    """A file of keys that only its owner may read."""
    path = folder / "keys"
    path.touch(mode=0o600)
    path.write_text("\n".join(["# for these tests", "", *keys, ""]))
    return path


def on_disk(server: Server) -> list[str]:
    """All files of the server but those that it always has, by their paths in the upload directory."""
    always = {(".tusd-py", name) for name in ("run", "workspace", "signing.keys")}
    paths = [path.relative_to(server.upload_dir) for path in server.upload_dir.rglob("*") if path.is_file()]
    return sorted(str(path) for path in paths if path.parts[:2] not in always)


def traces_of(server: Server, *ids: str) -> list[str]:
    """What there is on disk under the ids of these uploads and files."""
    return [path for path in on_disk(server) if any(each in path for each in ids)]
