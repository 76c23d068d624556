"""What is on the disk before what: the order of the system calls that survive the loss of power depends on."""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.crash.tracing import (
    LINKS,
    MAKES,
    OPENS,
    OTHER_SYNCS,
    RENAMES,
    SYNCS,
    TRUNCATIONS,
    UNLINKS,
    WRITEBACK,
    WRITES,
    Call,
    Request,
    Step,
    TracedServer,
    first,
    traced_server,
)
from tests.running import CHUNK, TUS, eventually

SMALL = b"hello, world" * 1000
BIG = b"0123456789abcdef" * 64 * 1024
"""More than what comes by way of the socket itself."""
HUGE = 40 * 1024 * 1024

BODIES = pytest.mark.parametrize("body", [SMALL, BIG], ids=["small", "big"])
DURABLE = pytest.mark.parametrize("durability", ["finish", "each"])


def checksum(body: bytes) -> str:
    return "sha256 " + base64.b64encode(hashlib.sha256(body).digest()).decode()


def info_of(data: Path) -> Path:
    return data.with_name(data.name + ".info")


def mark_of(data: Path) -> Path:
    return data.parent / ".tusd-py" / "unverified" / data.name


def source_of(request: Request, names: tuple[str, ...], target: Path) -> str:
    """The file that was linked or renamed to `target`."""
    return request.the_one(Step(names, target)).paths[0]


def create_part(server: TracedServer, body: bytes) -> str:
    url = server.create(len(body), Upload_Concat="partial")
    assert server.patch(url, 0, body).status == 204
    return url


def path_of_upload_killed_before_its_sync(tmp_path: Path, *, missing: int = 0, **headers: str) -> Path:
    """The data file of an upload of which some bytes were neither made durable nor answered; `missing` are to come."""
    with traced_server(tmp_path, "-durability", "each", fault="fdatasync:signal=SIGKILL") as server:
        url = server.create(len(SMALL) + missing)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            server.patch(url, 0, SMALL, **headers)
        data = server.path_of(url)
    assert data.read_bytes() == SMALL
    return data


def when_ready(calls: Sequence[Call]) -> int:
    """When the server said that it takes uploads."""
    return next(call.began for call in calls if call.name in WRITES and "You can now upload" in call.arguments)


# --- the directories ---


@DURABLE
def test_directories_that_were_made_are_on_the_disk_before_uploads_are_taken(tmp_path: Path, durability: str) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        data = server.upload_dir
        calls = server.calls()
    ready = when_ready(calls)
    state = data / ".tusd-py"
    for directory in (data, state, *(path for path in state.iterdir() if path.is_dir())):
        (made,) = (call.ended for call in calls if Step(MAKES, directory).matches(call))
        synced = [call for call in calls if Step(SYNCS, directory.parent).matches(call)]
        assert any(call.began > made and call.ended < ready for call in synced), directory


def test_directories_that_are_there_are_not_synced_again(tmp_path: Path) -> None:
    for _ in range(2):
        with traced_server(tmp_path) as server:
            calls = server.calls()
    # The state directory's is for the keys, which another process may be making at the same time.
    synced = [call for call in calls if call.name in SYNCS and Path(call.paths[0]).name != ".tusd-py"]
    assert not [*(call for call in calls if call.name in MAKES), *synced]


# --- creation ---


@DURABLE
def test_an_upload_appears_with_its_data_file_and_a_description_that_is_on_the_disk(
    tmp_path: Path, durability: str
) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        data = server.path_of(server.create(5))
        (creation,) = server.requests()
    assert creation.status == 201
    description = source_of(creation, LINKS, info_of(data))
    creation.assert_order(Step(WRITES, description), Step(SYNCS, description), Step(LINKS, info_of(data)))
    creation.assert_order(Step(OPENS, data, "O_CREAT"), Step(LINKS, info_of(data)))


def test_with_durability_each_a_creation_is_answered_when_its_name_is_on_the_disk(tmp_path: Path) -> None:
    with traced_server(tmp_path, "-durability", "each") as server:
        data = server.path_of(server.create(5))
        (creation,) = server.requests()
    creation.assert_order(Step(LINKS, info_of(data)), first(SYNCS, data.parent))


@DURABLE
def test_an_empty_upload_is_complete_and_on_the_disk_when_its_creation_is_answered(
    tmp_path: Path, durability: str
) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        data = server.path_of(server.create(0))
        (creation,) = server.requests()
    creation.assert_order(Step(LINKS, info_of(data)), first(SYNCS, data.parent))


@DURABLE
@BODIES
def test_a_creation_that_brings_all_bytes_is_answered_when_they_and_the_names_are_on_the_disk(
    tmp_path: Path, durability: str, body: bytes
) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        answer = server.request("POST", headers=CHUNK | {"Upload-Length": str(len(body))}, body=body)
        data = server.path_of(answer.headers["location"])
        (creation,) = server.requests()
    assert creation.status == 201
    creation.assert_order(Step(LINKS, info_of(data)), Step(WRITES, data), first(SYNCS, data), first(SYNCS, data.parent))


# --- PATCH ---


@BODIES
def test_the_last_patch_is_answered_when_all_bytes_and_the_names_are_on_the_disk(tmp_path: Path, body: bytes) -> None:
    with traced_server(tmp_path) as server:
        url = server.create(2 * len(body))
        data = server.path_of(url)
        assert server.patch(url, 0, body).status == 204
        assert server.patch(url, len(body), body).status == 204
        *_, last = server.requests()
    assert last.status == 204
    last.assert_order(Step(WRITES, data), first(SYNCS, data), first(SYNCS, data.parent))


def test_a_last_patch_in_chunked_coding_is_answered_when_all_bytes_and_the_names_are_on_the_disk(
    tmp_path: Path,
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(4):
            yield SMALL

    with traced_server(tmp_path) as server:
        url = server.create(4 * len(SMALL))
        data = server.path_of(url)
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("PATCH", url, pieces(), CHUNK | {"Upload-Offset": "0"}, encode_chunked=True)
        assert connection.getresponse().status == 204
        connection.close()
        *_, last = server.requests()
    last.assert_order(Step(WRITES, data), first(SYNCS, data), first(SYNCS, data.parent))


def test_writing_to_the_disk_starts_every_16_mib_so_that_the_last_sync_is_short(tmp_path: Path) -> None:
    with traced_server(tmp_path) as server:
        url = server.create(HUGE)
        data = server.path_of(url)
        assert server.patch(url, 0, bytes(HUGE)).status == 204
        *_, last = server.requests()
    assert len(last.those(Step(WRITEBACK, data))) == HUGE // (16 * 1024 * 1024)
    last.assert_order(Step(WRITEBACK, data), first(SYNCS, data))


@BODIES
def test_with_durability_each_every_patch_is_answered_when_its_bytes_are_on_the_disk(
    tmp_path: Path, body: bytes
) -> None:
    with traced_server(tmp_path, "-durability", "each") as server:
        url = server.create(3 * len(body))
        data = server.path_of(url)
        for number in range(3):
            assert server.patch(url, number * len(body), body).status == 204
        _, *patches = server.requests()
    for patch in patches:
        assert patch.status == 204
        patch.assert_order(Step(WRITES, data), first(SYNCS, data))
    patches[-1].assert_order(Step(WRITES, data), first(SYNCS, data), first(SYNCS, data.parent))


@DURABLE
def test_a_declared_length_is_on_the_disk_before_it_replaces_the_description(tmp_path: Path, durability: str) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        url = server.create(None)
        data = server.path_of(url)
        assert server.patch(url, 0, b"hello", Upload_Length="10").status == 204
        *_, patch = server.requests()
    description = source_of(patch, RENAMES, info_of(data))
    patch.assert_order(Step(WRITES, description), Step(SYNCS, description), Step(RENAMES, info_of(data)))


def test_with_durability_each_a_declared_length_is_answered_when_it_has_replaced_the_description_on_the_disk(
    tmp_path: Path,
) -> None:
    with traced_server(tmp_path, "-durability", "each") as server:
        url = server.create(None)
        data = server.path_of(url)
        assert server.patch(url, 0, b"hello", Upload_Length="10").status == 204
        *_, patch = server.requests()
    patch.assert_order(Step(RENAMES, info_of(data)), first(SYNCS, data.parent))


# --- checksums ---


@DURABLE
@BODIES
@pytest.mark.parametrize("is_last", [True, False], ids=["last", "not_last"])
def test_a_checked_body_is_marked_on_the_disk_until_its_bytes_are_there_too(
    tmp_path: Path, durability: str, body: bytes, is_last: bool
) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        url = server.create(len(body) + (0 if is_last else 1))
        data = server.path_of(url)
        assert server.patch(url, 0, body, Upload_Checksum=checksum(body)).status == 204
        *_, patch = server.requests()
    mark = mark_of(data)
    assert patch.status == 204
    patch.assert_order(
        Step(WRITES, mark),
        Step(SYNCS, mark),
        first(SYNCS, mark.parent),
        Step(WRITES, data),
        first(SYNCS, data),
        Step(UNLINKS, mark),
        first(SYNCS, mark.parent),
    )
    if is_last:
        patch.assert_order(Step(WRITES, data), first(SYNCS, data), first(SYNCS, data.parent))


@DURABLE
@BODIES
def test_a_refused_body_is_cut_off_on_the_disk_before_its_mark_goes(
    tmp_path: Path, durability: str, body: bytes
) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        url = server.create(len(body))
        data = server.path_of(url)
        assert server.patch(url, 0, body, Upload_Checksum=checksum(b"other")).status == 460
        *_, patch = server.requests()
    mark = mark_of(data)
    assert patch.status == 460
    patch.assert_order(
        Step(WRITES, data),
        Step(TRUNCATIONS, data),
        first(SYNCS, data),
        Step(UNLINKS, mark),
        first(SYNCS, mark.parent),
    )


# --- concatenation and termination ---


@DURABLE
def test_a_final_upload_appears_when_all_its_bytes_are_on_the_disk_and_is_answered_when_its_names_are(
    tmp_path: Path, durability: str
) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        parts = [create_part(server, body) for body in (BIG, SMALL, BIG)]
        concat = "final;" + " ".join(parts)
        answer = server.request("POST", headers=TUS | {"Upload-Concat": concat})
        data = server.path_of(answer.headers["location"])
        *_, creation = server.requests()
    assert creation.status == 201
    copy = source_of(creation, LINKS, data)
    description = source_of(creation, LINKS, info_of(data))
    creation.assert_order(
        Step(WRITES, copy),
        Step(SYNCS, copy),
        Step(LINKS, data),
        Step(LINKS, info_of(data)),
        first(SYNCS, data.parent),
    )
    creation.assert_order(Step(WRITES, description), Step(SYNCS, description), Step(LINKS, info_of(data)))


@pytest.mark.parametrize("durability", ["none", "finish", "each"])
def test_a_termination_takes_the_description_away_first_and_is_answered_when_nothing_is_left(
    tmp_path: Path, durability: str
) -> None:
    with traced_server(tmp_path, "-durability", durability) as server:
        url = server.create(10)
        data = server.path_of(url)
        assert server.patch(url, 0, b"hello").status == 204
        assert server.request("DELETE", url, TUS).status == 204
        *_, termination = server.requests()
        assert not info_of(data).exists()
        assert not data.exists()
    assert termination.status == 204
    withdrawn = termination.the_one(Step(RENAMES, info_of(data))).paths[1]
    termination.assert_order(Step(RENAMES, info_of(data)), Step(UNLINKS, data), Step(UNLINKS, withdrawn))


# --- none ---


def test_with_durability_none_nothing_waits_for_the_disk_but_everything_is_published_in_the_same_order(
    tmp_path: Path,
) -> None:
    with traced_server(tmp_path, "-durability", "none") as server:
        url = server.create(2 * len(BIG), Upload_Concat="partial")
        data = server.path_of(url)
        assert server.patch(url, 0, BIG, Upload_Checksum=checksum(b"other")).status == 460
        assert server.patch(url, 0, BIG, Upload_Checksum=checksum(BIG)).status == 204
        assert server.patch(url, len(BIG), BIG).status == 204
        deferred = server.create(None)
        assert server.patch(deferred, 0, SMALL, Upload_Length=str(len(SMALL))).status == 204
        final = server.request("POST", headers=TUS | {"Upload-Concat": f"final;{url}"})
        assert final.status == 201
        assert server.request("DELETE", deferred, TUS).status == 204
        requests = server.requests()
        calls = server.calls()
    synced = re.compile(r"\bO_D?SYNC\b")
    uploads = Step(SYNCS, server.upload_dir), Step(SYNCS, server.upload_dir.parent)
    assert not [call for call in calls if any(step.matches(call) for step in uploads)]
    calls = [call for call in calls if call.began > when_ready(calls)]
    assert not [call for call in calls if call.name in SYNCS + OTHER_SYNCS or synced.search(call.arguments)]
    creation, refused, checked = requests[:3]
    mark = mark_of(data)
    creation.assert_order(Step(OPENS, data, "O_CREAT"), Step(LINKS, info_of(data)))
    refused.assert_order(Step(WRITES, mark), Step(WRITES, data), Step(TRUNCATIONS, data), Step(UNLINKS, mark))
    checked.assert_order(Step(WRITES, mark), Step(WRITES, data), Step(UNLINKS, mark))
    concatenation = requests[6]
    whole = server.path_of(final.headers["location"])
    copy = source_of(concatenation, LINKS, whole)
    concatenation.assert_order(Step(WRITES, copy), Step(LINKS, whole), Step(LINKS, info_of(whole)))


# --- what an edge may serve ---


@DURABLE
def test_a_file_is_found_by_an_edge_also_after_a_loss_of_power_before_it_is_said_to_be_ready(
    tmp_path: Path, durability: str
) -> None:
    with traced_server(tmp_path, "-durability", durability, "-downloads", "signed") as server:
        url = server.create(len(SMALL))
        assert server.patch(url, 0, SMALL).status == 204
        records = server.upload_dir / ".tusd-py" / "files"
        (record,) = eventually(lambda: list(records.glob("*/*.json")))
        calls = server.calls()
    public = records.parent / "public"
    linked = one_call(calls, LINKS, public / record.stem)
    settled = one_call(calls, RENAMES, record)
    synced = [call for call in calls if Step(SYNCS, public).matches(call)]
    assert [call for call in synced if linked.ended < call.began and call.ended < settled.began]


def one_call(calls: Sequence[Call], names: tuple[str, ...], path: Path) -> Call:
    (call,) = (call for call in calls if Step(names, path).matches(call))
    return call


# --- after a kill ---


@DURABLE
def test_bytes_that_a_kill_left_unverified_are_cut_off_on_the_disk_before_their_mark_goes(
    tmp_path: Path, durability: str
) -> None:
    data = path_of_upload_killed_before_its_sync(tmp_path, Upload_Checksum=checksum(SMALL))
    with traced_server(tmp_path, "-durability", durability) as server:
        assert server.patch(server.url + data.name, 0, b"hello").status == 204
        (patch,) = server.requests()
    mark = mark_of(data)
    patch.assert_order(
        Step(TRUNCATIONS, data),
        first(SYNCS, data),
        Step(UNLINKS, mark),
        first(SYNCS, mark.parent),
        Step(WRITES, data),
    )


def test_bytes_that_a_killed_process_left_are_on_the_disk_before_the_upload_is_said_to_be_complete(
    tmp_path: Path,
) -> None:
    data = path_of_upload_killed_before_its_sync(tmp_path)
    with traced_server(tmp_path) as server:
        head = server.request("HEAD", server.url + data.name, TUS)
        assert head.headers["upload-offset"] == head.headers["upload-length"]
        (look,) = server.requests()
    look.assert_order(first(SYNCS, data), first(SYNCS, data.parent))


def test_with_durability_each_bytes_that_a_killed_process_left_are_on_the_disk_before_their_offset_is_said(
    tmp_path: Path,
) -> None:
    data = path_of_upload_killed_before_its_sync(tmp_path, missing=5)
    with traced_server(tmp_path, "-durability", "each") as server:
        for _ in range(2):
            assert server.offset(server.url + data.name) == len(SMALL)
        look, look_again = server.requests()
    look.assert_order(first(SYNCS, data), first(SYNCS, data.parent))
    assert not [call for call in look_again.calls if call.name in SYNCS]


def test_with_durability_each_a_look_at_bytes_of_this_process_syncs_nothing(tmp_path: Path) -> None:
    with traced_server(tmp_path, "-durability", "each") as server:
        url = server.create(10)
        assert server.offset(url) == 0
        assert server.patch(url, 0, b"hello").status == 204
        assert server.offset(url) == 5
        _, look, _, look_again = server.requests()
    assert not [call for call in look.calls + look_again.calls if call.name in SYNCS]
