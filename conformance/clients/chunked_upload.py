"""Upload a file in numbered chunks, several at a time; run it again to go on where it was broken off.

    python -m conformance.clients.chunked_upload http://localhost:8080/api FILE [--type TYPE] [--parallel 4]

An example to copy. It needs nothing but Python's standard library, and knows of the server only what it answers. What
has to be remembered between two runs, the upload's id, is kept in FILE.upload until the file is ready. An API key, if
the server wants one, is the first line of the file that --api-key-file names, or the environment variable API_KEY: a
command line is there for everybody on the machine to read.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import mimetypes
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ATTEMPTS = 10
LONGEST_DELAY = 10.0
TIMEOUT = 60.0
POLL_INTERVAL = 0.5
"""All in seconds but the first: of one request, between two attempts, for one read or write, between two looks."""

Json = dict[str, Any]


class ApiError(Exception):
    """The server has answered with an error, or not at all (status 0)."""

    def __init__(self, status: int, answer: Json, retry_after: float = 0.0) -> None:
        super().__init__(f"{status or 'no answer'}: {answer.get('error')} ({answer.get('code')})")
        self.status = status
        self.answer = answer
        self.retry_after = retry_after

    @property
    def passes(self) -> bool:
        """Whether the same request may well succeed in a while."""
        is_interrupted = self.answer.get("code") == "ERR_UPLOAD_INTERRUPTED"  # somebody else sends the same chunk
        is_damaged = self.answer.get("code") == "ERR_CHUNK_CHECKSUM_MISMATCH"  # on its way
        return self.status in (0, 423, 429) or self.status >= 500 or is_interrupted or is_damaged


class Api:
    """The JSON API at a URL. Each thread has a connection of its own, which is kept."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = urlsplit(url)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._local = threading.local()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        """The JSON of the answer. What passes by itself is tried again, after longer and longer pauses."""
        attempts = 0
        while True:
            try:
                return self._try(method, path, body, headers or {})
            except ApiError as error:
                attempts += 1
                if not error.passes or attempts == ATTEMPTS:
                    raise
                pause = min(0.25 * 2**attempts, LONGEST_DELAY) * random.uniform(0.5, 1)  # noqa: S311 -- not all at once
                time.sleep(max(pause, error.retry_after))

    def _try(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Json:
        connection = self._connection()
        try:
            connection.request(method, self._url.path.rstrip("/") + path, body, {**self._headers, **headers})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            raise ApiError(0, {"error": str(error), "code": type(error).__name__}) from error
        try:
            answer = json.loads(text or b"{}")
        except ValueError:  # an error page of something between us and the server
            answer = {"error": response.reason}
        if response.status >= 400:
            seconds = response.headers.get("Retry-After", "")
            raise ApiError(response.status, answer, float(seconds) if seconds.isdecimal() else 0.0)
        return dict(answer)

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._local, "connection"):
            is_secure = self._url.scheme == "https"
            kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
            self._local.connection = kind(self._url.netloc, timeout=TIMEOUT)
        connection: http.client.HTTPConnection = self._local.connection
        return connection


@dataclass(frozen=True)
class Notes:
    """What a later run has to know of an upload, and of the file as it was (size in bytes, time of its last change)."""

    api: str
    upload_id: str
    chunk_size: int
    size: int
    changed_ns: int


def begin(api: Api, url: str, file: Path, content_type: str) -> Notes:
    """Announce the file."""
    with file.open("rb") as opened:
        checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    status = file.stat()
    announced = {"fileName": file.name, "fileSize": status.st_size, "contentType": content_type, "checksum": checksum}
    json_type = {"Content-Type": "application/json"}
    answer = api.request("POST", "/uploads/initiate", json.dumps(announced).encode(), json_type)
    return Notes(url, answer["uploadId"], answer["chunkSize"], status.st_size, status.st_mtime_ns)


def resume(api: Api, url: str, file: Path, noted: Path) -> Notes | None:
    """The upload that an earlier run has begun, if there is one of this file and the server still knows it."""
    try:
        notes = Notes(**json.loads(noted.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    status = file.stat()
    if (notes.api, notes.size, notes.changed_ns) != (url, status.st_size, status.st_mtime_ns):
        return None
    try:
        state = api.request("GET", f"/uploads/{notes.upload_id}/status")["status"]
    except ApiError as error:
        if error.status in (404, 410):
            return None
        raise
    return None if state in ("failed", "gone") else notes


def write_notes(notes: Notes, noted: Path) -> None:
    """Whole or not at all, and for nobody else: who has the id can write to the upload and remove it."""
    fresh = noted.with_name(noted.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(asdict(notes)))
    fresh.replace(noted)


def send_missing(api: Api, file: Path, notes: Notes, parallel: int) -> None:
    """Send what the server does not have, `parallel` chunks at a time; each is read when its turn comes."""

    def send(number: int) -> int:
        with file.open("rb") as opened:
            opened.seek(number * notes.chunk_size)
            chunk = opened.read(notes.chunk_size)
        checksum = {"X-Chunk-Checksum": hashlib.sha256(chunk).hexdigest()}
        api.request("PUT", f"/uploads/{notes.upload_id}/chunks/{number}", chunk, checksum)
        return len(chunk)

    missing = api.request("GET", f"/uploads/{notes.upload_id}/status")["missingChunks"]
    missing_bytes = sum(min(notes.chunk_size, notes.size - number * notes.chunk_size) for number in missing)
    with progress_bar(notes.size, notes.size - missing_bytes) as advance, ThreadPoolExecutor(parallel) as pool:
        chunks = [pool.submit(send, number) for number in missing]
        try:
            for chunk in as_completed(chunks):
                advance(chunk.result())
        except BaseException:  # Ctrl-C too: those that are on their way come to their end
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def complete(api: Api, file: Path, notes: Notes, parallel: int) -> Json:
    """Send everything and have it verified and made a file; its record."""
    while True:
        send_missing(api, file, notes, parallel)
        try:
            file_id = api.request("POST", f"/uploads/{notes.upload_id}/complete")["fileId"]
            break
        except ApiError as error:
            if not error.answer.get("missingChunks"):
                raise
            # What was stored has been damaged since: send it again.
    while (record := api.request("GET", f"/files/{file_id}"))["status"] == "processing":
        time.sleep(POLL_INTERVAL)
    return record


@contextmanager
def progress_bar(size: int, done: int) -> Iterator[Any]:
    """A line on standard error; what is yielded is called with the number of bytes that have been sent."""
    began, before = time.monotonic(), done

    def advance(count: int) -> None:
        nonlocal done
        done += count
        share = done / size if size else 1.0
        speed = (done - before) / max(time.monotonic() - began, 0.001) / 1024**2
        print(f"\r[{'#' * int(share * 40):40}] {share:4.0%} {speed:7.1f} MiB/s", end="", file=sys.stderr, flush=True)

    advance(0)
    yield advance
    print(file=sys.stderr)


def read_key(file: Path | None) -> str | None:
    """The first line of a file, which may be the server's own; else what the environment has."""
    if file is None:
        return os.environ.get("API_KEY")
    lines = file.read_text().split()
    if not lines:
        raise OSError(f"there is no key in {file}")
    return lines[0]


def upload(url: str, file: Path, content_type: str, parallel: int, key: str | None) -> Json:
    """The file's record and, if it may be downloaded, a link to it that works for a while."""
    api = Api(url, key)
    noted = file.with_name(file.name + ".upload")
    notes = resume(api, url, file, noted)
    if notes is None:
        notes = begin(api, url, file, content_type)
        write_notes(notes, noted)
    record = complete(api, file, notes, parallel)
    link = api.request("GET", f"/uploads/{notes.upload_id}/download") if record["status"] == "ready" else {}
    noted.unlink()
    return {"file": record, **link}


def main() -> None:
    parser = argparse.ArgumentParser(description="Upload a file in numbered chunks; run again to go on.")
    parser.add_argument("api", help="URL of the API, such as http://localhost:8080/api")
    parser.add_argument("file", type=Path)
    parser.add_argument("--type", help="media type of the file (default: by its name)")
    parser.add_argument("--parallel", type=int, default=4, help="chunks at a time (default: 4)")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="its first line is the API key")
    arguments = parser.parse_args()
    content_type = arguments.type or mimetypes.guess_type(arguments.file.name)[0] or "application/octet-stream"
    try:
        result = upload(
            arguments.api, arguments.file, content_type, arguments.parallel, read_key(arguments.api_key_file)
        )
    except (ApiError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nBroken off. Run it again to go on.")
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if result["file"]["status"] != "ready":
        sys.exit(1)


if __name__ == "__main__":
    main()
