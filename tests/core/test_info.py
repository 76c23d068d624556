import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core.info import CorruptInfo, decode_info, encode_info
from tusd_py.core.uploads import CHUNKS, TUS, Upload

ID = "da9eb27a48fc7c3bd33a3f2652d82848"
FILE_ID = "f_0123456789abcdef0123456789abcdef"
OF_TUSD = (
    '{"ID":"da9eb27a48fc7c3bd33a3f2652d82848","Size":11,"SizeIsDeferred":false,"Offset":0,'
    '"MetaData":{"filename":"world.txt","filetype":"text/plain","is_confidential":""},"IsPartial":false,'
    '"IsFinal":false,"PartialUploads":null,"Storage":{"InfoPath":"/srv/data/da9eb27a48fc7c3bd33a3f2652d82848.info",'
    '"Path":"/srv/data/da9eb27a48fc7c3bd33a3f2652d82848","Type":"filestore"}}'
)
TEXTS = st.text()
HEADERS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
UPLOADS = st.builds(
    Upload,
    id=st.just(ID),
    size=st.none() | st.integers(0, 2**63 - 1),
    metadata=st.dictionaries(TEXTS, TEXTS),
    metadata_text=st.none() | HEADERS,
    is_partial=st.booleans(),
    parts=st.none() | st.lists(TEXTS).map(tuple),
    concat_text=st.none() | HEADERS,
    path=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    created_at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    file_id=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32).map("f_".__add__),
    protocol=st.sampled_from([TUS, CHUNKS]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(TEXTS, values),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["Size", "sizeisdeferred", "MetaData", "IsPartial", "IsFinal", "PartialUploads", "Storage", "TusdPy", "ID"]
)


def document(**changes: Any) -> bytes:
    return json.dumps(json.loads(OF_TUSD) | changes).encode()


def test_the_info_file_of_tusd_is_read() -> None:
    assert decode_info(OF_TUSD.encode(), ID) == Upload(
        id=ID,
        size=11,
        metadata={"filename": "world.txt", "filetype": "text/plain", "is_confidential": ""},
        path="/srv/data/da9eb27a48fc7c3bd33a3f2652d82848",
    )


def test_a_deferred_length_of_tusd_is_read() -> None:
    assert decode_info(document(Size=0, SizeIsDeferred=True), ID).size is None


def test_a_final_upload_of_tusd_is_read() -> None:
    upload = decode_info(document(IsFinal=True, PartialUploads=["a", "b"]), ID)
    assert upload.is_final
    assert upload.parts == ("a", "b")


def test_a_partial_upload_of_tusd_is_read() -> None:
    upload = decode_info(document(IsPartial=True), ID)
    assert upload.is_partial
    assert not upload.is_final


def test_names_are_read_in_any_case_and_unknown_ones_are_passed_over() -> None:
    text = b'{"id":"x","SIZE":3,"metadata":{"A":"b"},"storage":{"PATH":"/p","New":1},"Future":{"a":[1]}}'
    assert decode_info(text, ID) == Upload(id=ID, size=3, metadata={"A": "b"}, path="/p")


def test_absent_and_null_members_have_their_zero_values() -> None:
    assert decode_info(b"{}", ID) == Upload(id=ID, size=0)
    assert decode_info(b'{"MetaData":null,"Storage":null,"Size":null,"TusdPy":null}', ID) == Upload(id=ID, size=0)


def test_characters_that_go_escapes_are_read_as_themselves() -> None:
    text = document(MetaData={}).replace(b'"MetaData": {}', rb'"MetaData":{"a":"\u003c\u003e\u0026\u2028"}')
    assert decode_info(text, ID).metadata == {"a": "<>&\u2028"}


def test_a_whole_number_is_a_time_too() -> None:
    assert decode_info(document(TusdPy={"Created": 5}), ID).created_at == 5.0


def test_the_info_file_has_tusds_members_in_tusds_order_and_one_of_ours() -> None:
    upload = Upload(
        id=ID,
        size=11,
        offset=0,
        metadata={"filename": "world.txt", "filetype": "text/plain", "is_confidential": ""},
        metadata_text="filename d29ybGQudHh0",
        path=f"/srv/data/{ID}",
    )
    text = encode_info(upload, f"/srv/data/{ID}.info").decode()
    assert text.startswith(OF_TUSD.removesuffix("}") + ',"TusdPy":{')
    assert "\n" not in text


def test_a_deferred_length_is_written_as_tusd_does() -> None:
    written = json.loads(encode_info(Upload(ID, None), ""))
    assert (written["Size"], written["SizeIsDeferred"]) == (0, True)


def test_a_final_upload_is_written_as_tusd_does() -> None:
    written = json.loads(encode_info(Upload(ID, 3, parts=("a", "b")), ""))
    assert (written["IsFinal"], written["PartialUploads"]) == (True, ["a", "b"])


def test_an_upload_of_tusd_came_by_tus_and_is_no_file_yet() -> None:
    upload = decode_info(OF_TUSD.encode(), ID)
    assert (upload.file_id, upload.protocol) == (None, "tus")
    assert decode_info(document(TusdPy={"Metadata": "a"}), ID) == replace(upload, metadata_text="a")


def test_the_file_that_an_upload_is_and_the_way_it_came_stand_in_our_member() -> None:
    written = json.loads(encode_info(Upload(ID, 1, file_id=FILE_ID, protocol=CHUNKS), ""))["TusdPy"]
    assert (written["FileId"], written["Protocol"]) == (FILE_ID, "chunks")
    assert "FileId" not in json.loads(encode_info(Upload(ID, 1), ""))["TusdPy"]


@pytest.mark.parametrize("file_id", ["", "f_", ID, FILE_ID + "0", FILE_ID.upper(), "../" + FILE_ID, FILE_ID + "\n"])
def test_what_is_no_file_id_is_forgotten(file_id: str) -> None:
    assert decode_info(document(TusdPy={"FileId": file_id}), ID).file_id is None


@pytest.mark.parametrize("protocol", ["", "chunk", "CHUNKS", "ietf"])
def test_an_unknown_way_is_taken_for_tus(protocol: str) -> None:
    assert decode_info(document(TusdPy={"Protocol": protocol}), ID).protocol == "tus"


@given(UPLOADS)
def test_what_is_written_is_read_back(upload: Upload) -> None:
    assert decode_info(encode_info(upload, "/srv/x.info"), ID) == upload


def test_text_that_is_no_unicode_is_written_all_the_same() -> None:
    assert decode_info(encode_info(Upload(ID, 1, {"a": "\ud800b"}), ""), ID).metadata == {"a": "?b"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        OF_TUSD.encode()[:-1],
        OF_TUSD.encode()[:40],
        OF_TUSD.encode() + b"}",
        bytes(64),
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
    ],
    ids=["empty", "blank", "cut", "half", "more", "zeros", "bytes", "list", "null", "text", "deep"],
)
def test_what_is_no_json_object_is_corrupt(text: bytes) -> None:
    with pytest.raises(CorruptInfo):
        decode_info(text, ID)


@pytest.mark.parametrize(
    "changes",
    [
        {"Size": -1},
        {"Size": "11"},
        {"Size": 1.5},
        {"Size": True},
        {"Size": 2**63},
        {"SizeIsDeferred": 1},
        {"MetaData": []},
        {"MetaData": {"a": 1}},
        {"IsFinal": "yes"},
        {"PartialUploads": [1]},
        {"PartialUploads": "a"},
        {"Storage": "x"},
        {"Storage": {"Path": 1}},
        {"Storage": {"Path": "a\0b"}},
        {"Storage": {"Path": "\ud800"}},
        {"TusdPy": []},
        {"TusdPy": {"Metadata": 1}},
        {"TusdPy": {"Created": "now"}},
        {"TusdPy": {"FileId": 1}},
        {"TusdPy": {"Protocol": True}},
        {"TusdPy": {"Created": 10**400}},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_member_of_the_wrong_type_is_corrupt(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptInfo):
        decode_info(document(**changes), ID)


@given(st.binary() | st.dictionaries(NAMES, VALUES).map(lambda members: json.dumps(members).encode()))
def test_no_text_raises_anything_but_corrupt_info(text: bytes) -> None:
    try:
        upload = decode_info(text, ID)
    except CorruptInfo:
        return
    assert upload.size is None or upload.size >= 0


@pytest.mark.parametrize("text", ["a\r\nX: y", "a\0", "\x1f", "ключ"])
def test_a_text_that_cannot_be_a_header_again_is_forgotten(text: str) -> None:
    upload = decode_info(encode_info(Upload(ID, 1, metadata_text=text, concat_text=text), ""), ID)
    assert (upload.metadata_text, upload.concat_text) == (None, None)
