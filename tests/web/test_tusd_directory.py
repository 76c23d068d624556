"""A directory that tusd wrote is served and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running import TUS, Server, ServerStarter
from tests.tusd_directory import write_as_tusd


@pytest.fixture
def taken_over(start: ServerStarter, tmp_path: Path) -> Server:
    directory = tmp_path / "tusd"
    metadata = {"filename": "world.txt", "filetype": "text/plain", "is_confidential": ""}
    write_as_tusd(directory, "fresh", b"", MetaData=metadata)
    write_as_tusd(directory, "half", b"hello ")
    write_as_tusd(directory, "deferred", b"hello ", Size=0, SizeIsDeferred=True)
    write_as_tusd(directory, "partone", b"hello ", Size=6, IsPartial=True)
    write_as_tusd(directory, "parttwo", b"wor", Size=5, IsPartial=True)
    write_as_tusd(directory, "final", b"hello hello ", Size=12, IsFinal=True, PartialUploads=["partone", "partone"])
    write_as_tusd(directory, "team-1/2f6c0c", b"hello ")
    write_as_tusd(directory, "moved", b"hello ", path=tmp_path / "elsewhere" / "a.png")
    (directory / "half.lock").write_text("999999999\n")
    (directory / "half.stop").touch()
    return start(upload_dir=directory)


@pytest.mark.parametrize(
    ("upload_id", "offset"), [("fresh", 0), ("half", 6), ("deferred", 6), ("team-1/2f6c0c", 6), ("moved", 6)]
)
def test_half_done_uploads_go_on(taken_over: Server, upload_id: str, offset: int) -> None:
    url = taken_over.url + upload_id
    assert taken_over.offset(url) == offset
    assert taken_over.patch(url, offset, b"hello world"[offset:], Upload_Length="11").status == 204
    assert taken_over.request("GET", url).body == b"hello world"
    assert taken_over.request("HEAD", url, TUS).headers["upload-length"] == "11"


def test_metadata_and_concatenation_are_shown_as_tusd_would(taken_over: Server) -> None:
    shown = taken_over.request("HEAD", taken_over.url + "fresh", TUS).headers["upload-metadata"]
    assert sorted(shown.split(",")) == ["filename d29ybGQudHh0", "filetype dGV4dC9wbGFpbg==", "is_confidential"]
    head = taken_over.request("HEAD", taken_over.url + "final", TUS).headers
    assert head["upload-concat"] == f"final;{taken_over.url}partone {taken_over.url}partone"
    assert (head["upload-offset"], head["upload-length"]) == ("12", "12")
    assert taken_over.request("HEAD", taken_over.url + "partone", TUS).headers["upload-concat"] == "partial"
    assert taken_over.patch(taken_over.url + "final", 12, b"").status == 403


def test_parts_of_tusd_are_finished_and_concatenated(taken_over: Server) -> None:
    assert taken_over.patch(taken_over.url + "parttwo", 3, b"ld").status == 204
    answer = taken_over.request("POST", headers=TUS | {"Upload-Concat": "final;/files/partone /files/parttwo"})
    assert taken_over.request("GET", answer.headers["location"]).body == b"hello world"


def test_an_upload_in_another_place_is_removed_there(taken_over: Server) -> None:
    other = taken_over.upload_dir.parent / "elsewhere" / "a.png"
    assert taken_over.request("DELETE", taken_over.url + "moved", TUS).status == 204
    assert not other.exists()


def test_locks_of_a_dead_tusd_are_removed(taken_over: Server) -> None:
    assert not (taken_over.upload_dir / "half.lock").exists()
    assert not (taken_over.upload_dir / "half.stop").exists()


def test_a_live_tusd_on_the_directory_is_named_and_nothing_served(start: ServerStarter, tmp_path: Path) -> None:
    directory = tmp_path / "tusd"
    write_as_tusd(directory, "half", b"hello ")
    (directory / "half.lock").write_text("1\n")
    server = start(upload_dir=directory, wait=False)
    assert server.process.wait(20) == 1
    assert "half.lock" in server.output()
    assert "process 1" in server.output()


def test_readers_of_info_files_need_not_know_our_key(server: Server) -> None:
    """tusd leaves it out when it writes the file anew; what it held is then rebuilt as tusd would."""
    url = server.create(5, Upload_Metadata="b Yg==,a YQ==,c")
    info = Path(f"{server.path_of(url)}.info")
    document = json.loads(info.read_text())
    del document["TusdPy"]
    info.write_text(json.dumps(document))
    assert server.request("HEAD", url, TUS).headers["upload-metadata"] == "b Yg==,a YQ==,c"
    assert server.patch(url, 0, b"hello").status == 204


def test_keys_that_tusd_took_are_shown_in_their_bytes(taken_over: Server) -> None:
    write_as_tusd(taken_over.upload_dir, "foreign", b"hello ", MetaData={"ключ": "a"})
    shown = taken_over.request("HEAD", taken_over.url + "foreign", TUS).headers["upload-metadata"]
    assert shown.encode("latin-1").decode() == "ключ YQ=="


def test_what_cannot_be_a_header_is_rebuilt(server: Server) -> None:
    url = server.create(5, Upload_Metadata="a YQ==")
    info = Path(f"{server.path_of(url)}.info")
    document = json.loads(info.read_text())
    document["TusdPy"]["Metadata"] = "a YQ==\r\nX: y"
    info.write_text(json.dumps(document))
    assert server.request("HEAD", url, TUS).headers["upload-metadata"] == "a YQ=="
