import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.running import eventually
from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.uploads import Upload
from tusd_py.store.descriptions import Descriptions
from tusd_py.store.layout import Layout
from tusd_py.store.workspace import Workspace


def descriptions_in(directory: Path) -> Descriptions:
    (directory / "workspace").mkdir(exist_ok=True)
    return Descriptions(Layout(directory, directory), Workspace(directory / "workspace", 0o600), durable=False)


def test_what_was_read_is_known_until_another_process_replaces_it(tmp_path: Path) -> None:
    ours, theirs = descriptions_in(tmp_path), descriptions_in(tmp_path)
    theirs.rewrite(Upload("abc", None, path="/data/abc"), name_durable=False)
    assert ours.read("abc").size is None
    assert ours.read("abc") is ours.read("abc")
    theirs.rewrite(Upload("abc", 5, path="/data/abc"), name_durable=False)
    assert ours.read("abc").size == 5


def test_a_description_that_was_written_in_place_is_read_again(tmp_path: Path) -> None:
    descriptions, path = descriptions_in(tmp_path), tmp_path / "abc.info"
    path.write_text('{"ID":"abc","Size":5}')
    assert descriptions.read("abc").size == 5
    path.write_text('{"ID":"abc","Size":11}')
    assert descriptions.read("abc").size == 11
    path.write_text('{"ID":"abc","Size":12}')
    os.utime(path, ns=(1, 1))
    assert descriptions.read("abc").size == 12


def test_a_description_that_was_written_in_place_under_its_old_time_is_read_again(tmp_path: Path) -> None:
    descriptions, path = descriptions_in(tmp_path), tmp_path / "abc.info"
    path.write_text('{"ID":"abc","Size":11}')
    before = path.stat()
    assert descriptions.read("abc").size == 11

    def write_until_it_is_known() -> bool:
        """The clock of a file system may be too coarse for the first time."""
        path.write_text('{"ID":"abc","Size":12}')
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return path.stat().st_ctime_ns > before.st_ctime_ns

    eventually(write_until_it_is_known)
    assert descriptions.read("abc").size == 12


def test_a_description_that_was_taken_away_is_not_remembered(tmp_path: Path) -> None:
    descriptions = descriptions_in(tmp_path)
    descriptions.rewrite(Upload("abc", 5), name_durable=False)
    descriptions.read("abc")
    descriptions.remove("abc")
    with pytest.raises(FileNotFoundError):
        descriptions.read("abc")


def test_a_large_description_is_read_whole(tmp_path: Path) -> None:
    descriptions = descriptions_in(tmp_path)
    text = "note " + "YWJj" * 200_000
    descriptions.rewrite(Upload("abc", 5, {"note": "abc" * 200_000}, text), name_durable=False)
    assert descriptions.read("abc").metadata_text == text


def test_no_description_is_an_error_of_the_server_also_where_it_is_a_pipe(tmp_path: Path) -> None:
    descriptions = descriptions_in(tmp_path)
    os.mkfifo(tmp_path / "pipe.info")
    (tmp_path / "text.info").write_text("no JSON")
    for name in ("pipe", "text"):
        with pytest.raises(UploadError) as caught:
            descriptions.read(name)
        assert caught.value.problem is errors.INTERNAL_SERVER_ERROR


def test_a_directory_is_no_description(tmp_path: Path) -> None:
    (tmp_path / "abc.info").mkdir()
    with pytest.raises(IsADirectoryError):
        descriptions_in(tmp_path).read("abc")


def test_what_was_made_is_known_until_another_process_replaces_it(tmp_path: Path) -> None:
    ours, theirs = descriptions_in(tmp_path), descriptions_in(tmp_path)
    with Workspace(tmp_path / "workspace", 0o600).entry("abc") as entry:
        made = ours.write(entry, Upload("abc", None), "/data/abc")
        entry.publish(tmp_path / "abc.info")
        ours.remember(made, entry.descriptor)
    assert ours.read("abc") is made
    assert list((tmp_path / "workspace").iterdir()) == []
    theirs.rewrite(Upload("abc", 5, path="/data/abc"), name_durable=False)
    assert ours.read("abc").size == 5


def test_what_was_made_is_known_as_it_will_be_read(tmp_path: Path) -> None:
    ours, theirs = descriptions_in(tmp_path), descriptions_in(tmp_path)
    announced = Upload("abc", 5, {"name": "ü"}, "name w7w=", is_partial=True, concat_text="partial;\xfc")
    with Workspace(tmp_path / "workspace", 0o600).entry("abc") as entry:
        made = ours.write(entry, announced, "/data/abc")
        entry.publish(tmp_path / "abc.info")
    read = theirs.read("abc")
    assert read == replace(made, changed_at=read.changed_at)
