"""Who hears of a finished file, and when: hooks, and clients that wait."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from tests.chunked import Json, fields_of
from tests.hooks.receivers import Receiver, receiver
from tests.pipeline.clamav import ClamAV
from tests.pipeline.sending import (
    HOOKS,
    SENDERS,
    TEXT,
    Sent,
    by_tus,
    file_id_in_advance,
    png,
    record_when_settled,
    status_of,
)
from tests.running import CHUNK, DEADLINE, ServerStarter, eventually
from tusd_py.pipeline.probes import EICAR

# --- hooks ---


def told(hooks: Receiver, sent: Sent) -> list[str]:
    """What a receiver was told of an upload, in order."""
    return [body["Type"] for body in hooks.bodies if body["Event"]["Upload"]["ID"] == sent.upload_id]


@pytest.mark.parametrize("protocol", SENDERS)
def test_post_finish_comes_when_the_file_is_ready_with_the_request_but_without_credentials(
    start: ServerStarter, own: ClamAV, protocol: str
) -> None:
    with receiver() as hooks:
        server = start("-clamd", own.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS)
        own.pause()
        good, bad = SENDERS[protocol](server, TEXT), SENDERS[protocol](server, EICAR)
        if protocol == "tus":
            headers = {"Authorization": "Bearer secret", "X-Team": "blue", "Cookie": "a=b"}
            url = server.create(len(TEXT))
            assert server.request("PATCH", url, CHUNK | headers | {"Upload-Offset": "0"}, TEXT).status == 204
            upload_id = url.rpartition("/")[2]
            good = Sent(upload_id, file_id_in_advance(server, upload_id))
        assert told(hooks, good) == []
        own.resume()
        eventually(lambda: told(hooks, good) == ["post-finish", "file-ready"] and told(hooks, bad))
    assert told(hooks, bad) == ["file-quarantined"]
    finished = next(body for body in hooks.bodies if body["Event"]["Upload"]["ID"] == good.upload_id)
    request = finished["Event"]["HTTPRequest"]
    if protocol == "tus":
        assert (request["Method"], request["URI"]) == ("PATCH", good.path)
        assert request["Header"]["X-Team"] == ["blue"]
    else:
        assert (request["Method"], request["URI"]) == ("POST", f"/api/uploads/{good.upload_id}/complete")
    assert not {"Authorization", "Cookie"} & set(request["Header"])
    assert finished["Event"]["Upload"]["Storage"]["Path"] == str(server.upload_dir / good.upload_id)
    assert "secret" not in "".join(map(str, hooks.bodies))


def test_post_finish_can_come_at_the_moment_at_which_tusd_sends_it(start: ServerStarter, own: ClamAV) -> None:
    with receiver() as hooks:
        flags = ("-clamd", own.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS)
        server = start(*flags, "-post-finish-after-scan=false")
        own.pause()
        good, bad = by_tus(server, TEXT), by_tus(server, EICAR)
        eventually(lambda: told(hooks, good) == told(hooks, bad) == ["post-finish"])
        assert status_of(server, good) == status_of(server, bad) == "processing"
        own.resume()
        eventually(lambda: len(hooks.received) == 4)
    assert told(hooks, good) == ["post-finish", "file-ready"]
    assert told(hooks, bad) == ["post-finish", "file-quarantined"]


def test_post_finish_is_not_told_again_when_a_file_is_looked_at_again(start: ServerStarter, small: ClamAV) -> None:
    with receiver() as hooks:
        flags = ("-clamd", small.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS)
        server = start(*flags)
        sent = by_tus(server, TEXT)
        eventually(lambda: told(hooks, sent) == ["post-finish", "file-ready"])
        record_when_settled(server, sent.file_id)
        server.terminate()
        command = [sys.executable, "-m", "tusd_py", "rescan", sent.file_id, "-upload-dir", str(server.upload_dir)]
        subprocess.run(command, check=True, capture_output=True)
        start(*flags, upload_dir=server.upload_dir)
        eventually(lambda: len(told(hooks, sent)) > 2)
    assert told(hooks, sent) == ["post-finish", "file-ready", "file-ready"]


def test_an_upload_that_tusd_has_finished_is_scanned_but_no_news(start: ServerStarter, small: ClamAV) -> None:
    with receiver() as hooks:
        server = start()
        url = server.create(len(TEXT))  # without a flag that asks for more it is as tusd makes it
        assert server.patch(url, 0, TEXT).status == 204
        server.terminate()
        flags = ("-clamd", small.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS)
        server = start(*flags, upload_dir=server.upload_dir)
        upload_id = url.rpartition("/")[2]
        file_id = fields_of(server.request("GET", f"/api/uploads/{upload_id}/status"))["fileId"]
        assert record_when_settled(server, file_id)["scanResult"] == "clean"
        eventually(lambda: told(hooks, Sent(upload_id, file_id)))
    assert told(hooks, Sent(upload_id, file_id)) == ["file-ready"]


def test_file_events_have_the_record_and_links_that_work(start: ServerStarter, small: ClamAV) -> None:
    with receiver() as hooks:
        server = start(
            *("-clamd", small.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS),
            *("-thumbnails", "32", "-public-url", "https://example.org/"),
        )
        good, bad = by_tus(server, png(80, 40), "image/png"), by_tus(server, EICAR)
        eventually(lambda: told(hooks, good)[-1:] == ["file-ready"] and told(hooks, bad))
    ready = next(body["Event"]["File"] for body in hooks.bodies if body["Type"] == "file-ready")
    record = record_when_settled(server, good.file_id)
    assert ready.items() >= record.items()
    place = "https://example.org"
    assert ready["downloadUrl"].startswith(f"{place}/files/{good.file_id}?")
    assert server.request("GET", ready["downloadUrl"].removeprefix(place)).body == png(80, 40)
    assert server.request("GET", ready["thumbnailUrls"]["32"].removeprefix(place)).status == 200
    quarantined = next(body["Event"]["File"] for body in hooks.bodies if body["Type"] == "file-quarantined")
    assert quarantined == record_when_settled(server, bad.file_id)
    assert "downloadUrl" not in quarantined


# --- clients that wait ---


def test_a_client_can_wait_for_a_file(start: ServerStarter, own: ClamAV) -> None:
    server = start("-clamd", own.unix)
    own.pause()
    sent = by_tus(server, TEXT)
    started = time.monotonic()
    assert fields_of(server.request("GET", f"/api/files/{sent.file_id}?wait=1"))["status"] == "processing"
    assert time.monotonic() - started > 0.9
    answers: list[Json] = []
    waiting = threading.Thread(
        target=lambda: answers.append(fields_of(server.request("GET", f"/api/files/{sent.file_id}?wait=30")))
    )
    waiting.start()
    own.resume()
    waiting.join(DEADLINE)
    assert [answer["status"] for answer in answers] == ["ready"]
    for query in ("wait=x", "wait=", "wait=1&wait=2", "wait=-1", "other=1"):
        assert server.request("GET", f"/api/files/{sent.file_id}?{query}").status == 400, query


def test_a_client_can_listen_to_what_becomes_of_a_file(start: ServerStarter, own: ClamAV) -> None:
    server = start("-clamd", own.unix)
    own.pause()
    sent = by_tus(server, EICAR)
    connection = server.http_connection()
    connection.request("GET", f"/api/files/{sent.file_id}/events")
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert response.readline() == b"event: processing\n"
    own.resume()
    events = [text for text in response.read().decode().split("\n\n") if text.startswith("event:")]
    connection.close()
    (event,) = events
    name, data = event.split("\n")
    assert name == "event: quarantined"
    assert json.loads(data.removeprefix("data: ")) == record_when_settled(server, sent.file_id)
    whole = server.request("GET", f"/api/files/{sent.file_id}/events").body
    assert whole.startswith(b"event: quarantined\n")
    assert server.request("GET", f"/api/files/f_{'0' * 32}/events").status == 404


def test_a_server_does_not_wait_long_for_those_who_listen(start: ServerStarter, own: ClamAV) -> None:
    server = start("-clamd", own.unix, "-shutdown-timeout", "1s")
    own.pause()
    sent = by_tus(server, TEXT)
    connection = server.http_connection()
    connection.request("GET", f"/api/files/{sent.file_id}/events")
    assert connection.getresponse().readline() == b"event: processing\n"
    own.resume()
    own.stop()
    server.terminate()
    connection.close()
