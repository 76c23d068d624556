"""As much of the chunk-number API as the bench uses: every byte is hashed twice, with its chunk and with the file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .receiving import receive
from .serving import Request, Response

CHUNK_SIZE = 5 * 1024 * 1024


@dataclass
class _Session:
    path: Path
    digest: str
    is_complete: bool = False


class Sessions:
    """Files in the making, by their numbers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        self._sessions: dict[str, _Session] = {}

    def answer(self, request: Request) -> Response:
        match [request.method, *request.path.split("/")[3:]]:
            case ["POST", "initiate"]:
                return self._initiate(request)
            case ["PUT", name, "chunks", number] if name in self._sessions:
                return _put(request, self._sessions[name], int(number))
            case ["POST", name, "complete"] if name in self._sessions:
                return _complete(self._sessions[name])
            case ["GET", name, "status"] if name in self._sessions:
                status = "ready" if self._sessions[name].is_complete else "uploading"
                return _json("200 OK", {"uploadId": name, "status": status})
            case ["DELETE", name] if name in self._sessions:
                self._sessions.pop(name).path.unlink()
                return Response("204 No Content")
            case _:
                return Response("404 Not Found")

    def _initiate(self, request: Request) -> Response:
        announced = json.loads(request.body.read())
        name = f"session-{next(self._numbers)}"
        self._sessions[name] = session = _Session(self._directory / name, announced["checksum"])
        session.path.touch()
        return _json("201 Created", {"uploadId": name, "chunkSize": CHUNK_SIZE, "status": "uploading"})


def _put(request: Request, session: _Session, number: int) -> Response:
    digest = hashlib.sha256()
    file = os.open(session.path, os.O_RDWR)
    try:
        receive(request.body, file, number * CHUNK_SIZE, digest.update)
    finally:
        os.close(file)
    if request.header(b"X-Chunk-Checksum") != digest.hexdigest().encode():
        return _json("422 Unprocessable Content", {"error": "other bytes"})
    return _json("200 OK", {"status": "chunk_received", "chunkNum": number})


def _complete(session: _Session) -> Response:
    with session.path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != session.digest:
            return _json("422 Unprocessable Content", {"error": "other bytes"})
    session.is_complete = True
    return _json("200 OK", {"status": "ready"})


def _json(status: str, content: object) -> Response:
    return Response(status, b"Content-Type: application/json\r\n", json.dumps(content).encode())
