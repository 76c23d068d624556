"""As much of tus as the bench uses."""

from __future__ import annotations

import hashlib
import itertools
import os
from base64 import b64encode
from pathlib import Path

from .receiving import Receive
from .serving import File, Request, Response

_EXTENSIONS = b"creation,creation-with-upload,termination,concatenation"


class Uploads:
    """Uploads by their numbers, each a file of its own in the directory; lengths are believed."""

    def __init__(self, directory: Path, take: Receive, *, can_hash: bool, is_flushed: bool) -> None:
        self._directory = directory
        self._receive = take
        self._is_flushed = is_flushed
        self._numbers = itertools.count()
        self._lengths: dict[str, int] = {}
        self._extensions = _EXTENSIONS + (b",checksum" if can_hash else b"")

    def answer(self, request: Request) -> Response:
        name = request.path.rpartition("/")[2]
        match request.method:
            case "POST":
                return self._create(request)
            case "PATCH" if name in self._lengths:
                return self._patch(request, name)
            case "HEAD" if name in self._lengths:
                offset = os.stat(self._path(name)).st_size
                return Response("200 OK", b"Upload-Offset: %d\r\n" % offset)
            case "GET" if name in self._lengths:
                file = os.open(self._path(name), os.O_RDONLY)
                return Response("200 OK", body=File(file, os.fstat(file).st_size))
            case "DELETE" if self._lengths.pop(name, None) is not None:
                os.unlink(self._path(name))
                return Response("204 No Content")
            case "OPTIONS":
                return Response("204 No Content", b"Tus-Extension: %s\r\n" % self._extensions)
            case _:
                return Response("404 Not Found")

    def _create(self, request: Request) -> Response:
        name = str(next(self._numbers))
        concat = (request.header(b"Upload-Concat") or b"").decode()
        file = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            if concat.startswith("final;"):
                length = self._concatenate(file, concat.removeprefix("final;").split())
            else:
                length = int(request.header(b"Upload-Length") or 0)
                if request.body.length:
                    self._receive(request.body, file, 0)
                    self._flush(file)
        finally:
            os.close(file)
        self._lengths[name] = length
        headers = b"Location: /files/%s\r\nUpload-Offset: %d\r\n" % (name.encode(), request.body.length)
        return Response("201 Created", headers)

    def _patch(self, request: Request, name: str) -> Response:
        offset = int(request.header(b"Upload-Offset") or 0)
        checksum = request.header(b"Upload-Checksum")
        digest = hashlib.sha256() if checksum else None
        file = os.open(self._path(name), os.O_RDWR)
        try:
            self._receive(request.body, file, offset, digest.update if digest else None)
            offset += request.body.length
            if offset == self._lengths[name]:
                self._flush(file)
        finally:
            os.close(file)
        if digest and checksum != b"sha256 " + b64encode(digest.digest()):
            return Response("460 Checksum Mismatch")
        return Response("204 No Content", b"Upload-Offset: %d\r\n" % offset)

    def _concatenate(self, target: int, parts: list[str]) -> int:
        total = 0
        for part in parts:
            source = os.open(self._path(part.rpartition("/")[2]), os.O_RDONLY)
            try:
                left = os.fstat(source).st_size
                total += left
                while left:
                    left -= os.copy_file_range(source, target, left)
            finally:
                os.close(source)
        self._flush(target)
        return total

    def _flush(self, file: int) -> None:
        if self._is_flushed:
            os.fdatasync(file)

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"
