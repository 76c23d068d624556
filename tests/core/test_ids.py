import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core.ids import is_file_id, is_upload_id

FILE_ID = "f_0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "upload_id",
    [
        "da9eb27a48fc7c3bd33a3f2652d82848",
        "a",
        "project/2024/report",
        "ümlaut",
        "a.b",
        "info",
        "a.infox",
        "x" * 1024,
        "f_" + "a" * 31,
        "f_" + "A" * 32,
        "project/" + FILE_ID,
    ],
)
def test_an_id_that_stays_below_the_directory_may_be_looked_up(upload_id: str) -> None:
    assert is_upload_id(upload_id)


@pytest.mark.parametrize(
    "upload_id",
    [
        "",
        ".",
        "..",
        ".hidden",
        ".tusd-py/workspace/x",
        "../x",
        "a/../b",
        "a/..",
        "a/./b",
        "a//b",
        "/etc/passwd",
        "a/",
        "a.info",
        "a.lock",
        "a.stop",
        "a/b.info",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "\ud800",
        "x" * 1025,
        FILE_ID,
        FILE_ID + "/thumbnail/256",
    ],
)
def test_an_id_that_could_meet_another_file_is_none(upload_id: str) -> None:
    assert not is_upload_id(upload_id)


def test_a_file_id_is_known_by_its_form() -> None:
    assert is_file_id(FILE_ID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        FILE_ID[2:],
        FILE_ID[:-1],
        FILE_ID + "0",
        FILE_ID + "\n",
        FILE_ID + "/",
        FILE_ID.upper(),
        "f_" + FILE_ID[2:].upper(),
        "f_" + "٣" * 32,
    ],
)
def test_what_only_resembles_a_file_id_is_none(text: str) -> None:
    assert not is_file_id(text)


@given(st.text() | st.text("a./\x00"))
def test_no_id_leads_out_of_the_directory_or_to_a_file_of_ours(upload_id: str) -> None:
    if is_upload_id(upload_id):
        path = os.path.normpath("/data/" + upload_id)
        assert path == "/data/" + upload_id
        assert not path.endswith((".info", ".lock", ".stop"))
        assert not path.startswith("/data/.")
