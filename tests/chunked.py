"""Uploads in numbered chunks, by the JSON API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.running import Answer, Server, eventually

Json = dict[str, Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fields_of(answer: Answer) -> Json:
    """The JSON object in the body of an answer."""
    fields = json.loads(answer.body)
    assert isinstance(fields, dict)
    return fields


@dataclass(frozen=True)
class Source:
    """A file to upload; it is said to be plain text."""

    data: bytes
    name: str = "source.txt"

    @cached_property
    def digest(self) -> str:
        return sha256(self.data)

    def announcement(self) -> bytes:
        return json.dumps(
            {
                "fileName": self.name,
                "fileSize": len(self.data),
                "contentType": "text/plain",
                "checksum": self.digest,
            }
        ).encode()


@dataclass(frozen=True)
class Chunked:
    """An upload as the server has announced it, with the file that it is to be."""

    id: str
    source: Source
    chunk_size: int

    @property
    def count(self) -> int:
        return -(-len(self.source.data) // self.chunk_size)

    @property
    def path(self) -> str:
        return f"/api/uploads/{self.id}"

    def chunk(self, number: int) -> bytes:
        return self.source.data[number * self.chunk_size : (number + 1) * self.chunk_size]


def announced(answer: Answer, source: Source) -> Chunked:
    """The upload that an initiation was answered with."""
    assert answer.status == 201, answer
    fields = fields_of(answer)
    upload = Chunked(fields["uploadId"], source, fields["chunkSize"])
    assert (fields["totalChunks"], fields["status"]) == (upload.count, "uploading")
    return upload


def initiate(server: Server, source: Source) -> Chunked:
    return announced(server.request("POST", "/api/uploads/initiate", body=source.announcement()), source)


def put(server: Server, upload: Chunked, number: int, data: bytes | None = None, digest: str | None = None) -> Answer:
    """Send a chunk; `data` and `digest` stand for what does not belong there."""
    data = upload.chunk(number) if data is None else data
    headers = {"X-Chunk-Checksum": digest or sha256(data)}
    return server.request("PUT", f"{upload.path}/chunks/{number}", headers, data)


def put_all(server: Server, upload: Chunked) -> None:
    """Send what is missing."""
    for number in status(server, upload)["missingChunks"]:
        answer = put(server, upload, number)
        assert answer.status == 200, answer


def status(server: Server, upload: Chunked) -> Json:
    answer = server.request("GET", f"{upload.path}/status")
    assert answer.status == 200, answer
    return fields_of(answer)


def complete(server: Server, upload: Chunked) -> Answer:
    return server.request("POST", f"{upload.path}/complete")


def record_when_settled(server: Server, file_id: str, headers: Mapping[str, str] | None = None) -> Json:
    """The record of a file, once nothing more is done to it."""

    def look() -> Json | None:
        answer = server.request("GET", f"/api/files/{file_id}", headers)
        assert answer.status == 200, answer
        record = fields_of(answer)
        return None if record["status"] == "processing" else record

    record: Json = eventually(look)
    return record


def finish(server: Server, upload: Chunked) -> Json:
    """Send what is missing, complete, and wait; the record of the file, whose bytes are those of the source."""
    put_all(server, upload)
    answer = complete(server, upload)
    assert answer.status == 200, answer
    record = record_when_settled(server, fields_of(answer)["fileId"])
    assert_ready(server, upload, record)
    return record


def assert_ready(server: Server, upload: Chunked, record: Json) -> None:
    """The file is the source, by what is said of it, on the disk, and through a signed link."""
    assert (record["status"], record["checksum"]) == ("ready", upload.source.digest), record
    assert sha256((server.upload_dir / upload.id).read_bytes()) == upload.source.digest
    link = server.request("GET", f"{upload.path}/download")
    assert link.status == 200, link
    assert sha256(server.request("GET", fields_of(link)["downloadUrl"]).body) == upload.source.digest


def state_of(server: Server) -> Path:
    """The server's state directory."""
    return server.upload_dir / ".tusd-py"
