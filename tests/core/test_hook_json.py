import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core.hook_events import (
    NO_REQUEST,
    Access,
    Event,
    HookAnswer,
    HookCall,
    HookFailure,
    HttpRequest,
    HttpResponse,
    without_headers,
)
from tusd_py.core.hook_json import CorruptCall, decode_answer, encode_call, pack_call, unpack_call
from tusd_py.core.uploads import Upload

GOLDEN = (
    '{"Type":"post-finish","Event":{"Upload":{"ID":"5d892c228ec8d0451dfec588697e8930","Size":432724,'
    '"SizeIsDeferred":false,"Offset":432724,"MetaData":{"filename":"holiday.png","filetype":"image/png"},'
    '"IsPartial":false,"IsFinal":false,"PartialUploads":null,"Storage":{'
    '"InfoPath":"/srv/data/5d892c228ec8d0451dfec588697e8930.info",'
    '"Path":"/srv/data/5d892c228ec8d0451dfec588697e8930","Type":"filestore"}},"HTTPRequest":{"Method":"PATCH",'
    '"URI":"/files/5d892c228ec8d0451dfec588697e8930","RemoteAddr":"127.0.0.1:59395","Header":{"Accept":["*/*"],'
    '"Content-Length":["432724"],"Content-Type":["application/offset+octet-stream"],"Host":["localhost:8080"],'
    '"Tus-Resumable":["1.0.0"],"Upload-Offset":["0"],"User-Agent":["tus-py-client"]}}}}'
)
"""What tusd sends for the end of an upload."""

FINISHED = HookCall(
    "call-1",
    Event.POST_FINISH,
    Upload(
        "5d892c228ec8d0451dfec588697e8930",
        432724,
        {"filetype": "image/png", "filename": "holiday.png"},
        offset=432724,
        path="/srv/data/5d892c228ec8d0451dfec588697e8930",
    ),
    HttpRequest(
        "PATCH",
        "/files/5d892c228ec8d0451dfec588697e8930",
        "127.0.0.1:59395",
        {
            "Host": ["localhost:8080"],
            "User-Agent": ["tus-py-client"],
            "Accept": ["*/*"],
            "Content-Length": ["432724"],
            "Content-Type": ["application/offset+octet-stream"],
            "Tus-Resumable": ["1.0.0"],
            "Upload-Offset": ["0"],
        },
    ),
    "/srv/data/5d892c228ec8d0451dfec588697e8930.info",
)


def document_of(call: HookCall) -> Any:
    return json.loads(encode_call(call))


def call_for(upload: Upload, event: Event = Event.POST_CREATE) -> HookCall:
    return HookCall("call-1", event, upload, NO_REQUEST)


def test_an_event_is_the_text_that_tusd_sends() -> None:
    assert encode_call(FINISHED).decode() == GOLDEN


def test_before_a_creation_there_is_no_place_and_a_deferred_size_is_0() -> None:
    upload = document_of(call_for(Upload("", None), Event.PRE_CREATE))["Event"]["Upload"]
    assert upload == {
        "ID": "",
        "Size": 0,
        "SizeIsDeferred": True,
        "Offset": 0,
        "MetaData": {},
        "IsPartial": False,
        "IsFinal": False,
        "PartialUploads": None,
        "Storage": None,
    }


def test_partial_and_final_uploads_say_so() -> None:
    assert document_of(call_for(Upload("a", 1, is_partial=True)))["Event"]["Upload"]["IsPartial"] is True
    final = document_of(call_for(Upload("a", 2, parts=("x", "y"))))["Event"]["Upload"]
    assert final["IsFinal"] is True
    assert final["PartialUploads"] == ["x", "y"]


def test_what_is_not_tusds_stands_in_keys_of_its_own() -> None:
    access = HookCall("1", Event.PRE_ACCESS, Upload("a", 0), NO_REQUEST, access=Access("read", ("a", "b")))
    assert document_of(access)["Event"]["Access"] == {"Mode": "read", "IDs": ["a", "b"]}
    file = HookCall("1", Event.POST_FINISH, Upload("a", 0), NO_REQUEST, file={"id": "f_1"})
    assert document_of(file)["Event"]["File"] == {"id": "f_1"}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", '"plain"'),
        ('"\\/', '"\\"\\\\/"'),
        ("<b>&", '"\\u003cb\\u003e\\u0026"'),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
        ("\n\t\x00", '"\\n\\t\\u0000"'),
        ("grün \U0001f600", '"grün \U0001f600"'),
        ("\ud800", '"\\ufffd"'),
    ],
)
def test_text_is_escaped_as_go_does_it(value: str, written: str) -> None:
    assert f'"MetaData":{{"k":{written}}}'.encode() in encode_call(call_for(Upload("a", 1, {"k": value})))


# --- calls at rest ---

texts = st.text(max_size=20)
uploads = st.builds(
    Upload,
    id=texts,
    size=st.none() | st.integers(0, 2**63 - 1),
    metadata=st.dictionaries(texts, texts, max_size=3),
    is_partial=st.booleans(),
    parts=st.none() | st.lists(texts, max_size=3).map(tuple),
    offset=st.integers(0, 2**63 - 1),
    path=texts,
)
requests = st.builds(
    HttpRequest, texts, texts, texts, st.dictionaries(texts, st.lists(texts, max_size=2).map(tuple), max_size=3)
)
calls = st.builds(
    HookCall, texts, st.sampled_from(Event), uploads, requests, texts, st.none(), st.none() | st.just({"id": "f_1"})
)


@given(calls)
def test_a_call_comes_back_from_the_disk_as_the_same_event(call: HookCall) -> None:
    text = pack_call(call)
    assert b"\n" not in text
    assert encode_call(unpack_call(text)) == encode_call(call)


def test_a_call_keeps_its_id_at_rest() -> None:
    assert unpack_call(pack_call(FINISHED)).id == "call-1"


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()))
def test_what_is_no_call_is_corrupt(text: bytes) -> None:
    with pytest.raises(CorruptCall):
        unpack_call(text)


def test_headers_can_be_left_out_whatever_their_case() -> None:
    request = HttpRequest("GET", "/", "", {"Authorization": ["x"], "X-KEY": ["y"], "Accept": ["z"]})
    call = HookCall("1", Event.POST_CREATE, Upload("a", 1), request)
    assert without_headers(call, {"authorization", "x-key"}).request.header == {"Accept": ["z"]}


# --- answers ---


def test_every_key_of_an_answer_is_read() -> None:
    answer = decode_answer(
        b'{"HTTPResponse":{"StatusCode":403,"Body":"{\\"message\\":\\"no\\"}",'
        b'"Header":{"Content-Type":"application/json","X-Reason":"quota"}},"RejectUpload":true,'
        b'"RejectTermination":true,"RejectAccess":true,"CacheSeconds":60,"StopUpload":true,"ChangeFileInfo":'
        b'{"ID":"team-1/2f6c0c","MetaData":{"filename":"a.png"},"Storage":{"Path":"team-1/2f6c0c/a.png"}}}'
    )
    assert answer == HookAnswer(
        response=HttpResponse(403, '{"message":"no"}', {"Content-Type": "application/json", "X-Reason": "quota"}),
        reject_upload=True,
        reject_termination=True,
        reject_access=True,
        stop_upload=True,
        change_id="team-1/2f6c0c",
        change_metadata={"filename": "a.png"},
        change_path="team-1/2f6c0c/a.png",
        cache_seconds=60.0,
    )


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b" { } \n",
        b"null",
        b'{"HTTPResponse":null,"RejectUpload":null,"ChangeFileInfo":null}',
        b'{"HTTPResponse":{},"ChangeFileInfo":{"MetaData":null,"Storage":null,"ID":""}}',
        b'{"Unknown":[1,2,{"deep":true}],"HTTPResponse":{"Headers":{"X":"y"}}}',
        b'{"HTTPResponse":{"StatusCode":0,"Body":"","Header":{}}}',
    ],
)
def test_what_is_absent_null_or_unknown_changes_nothing(text: bytes) -> None:
    assert decode_answer(text) == HookAnswer()


def test_names_are_read_in_any_case_and_null_undoes_nothing() -> None:
    assert decode_answer(b'{"rejectupload":true}').reject_upload
    assert decode_answer(b'{"REJECTUPLOAD":true,"RejectUpload":null}').reject_upload
    assert decode_answer(b'{"httpRESPONSE":{"statuscode":418}}').response.status == 418


def test_an_empty_object_clears_metadata() -> None:
    assert decode_answer(b'{"ChangeFileInfo":{"MetaData":{}}}').change_metadata == {}


def test_texts_are_unicode_whatever_came() -> None:
    assert decode_answer(b'{"HTTPResponse":{"Body":"a\xff\\ud800"}}').response.body == "a\ufffd\ufffd"
    assert decode_answer(b'{"HTTPResponse":{"Header":{"X":null}}}').response.header == {"X": ""}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"ok",
        b"[]",
        b'"text"',
        b"1",
        b"{} {}",
        b'{"RejectUpload":true}garbage',
        b'{"RejectUpload":true',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"HTTPResponse":{"Body":"a\nb"}}',
        b'{"X":NaN}',
        b'{"X":-Infinity}',
        b'{"RejectUpload":"true"}',
        b'{"RejectUpload":1}',
        b'{"HTTPResponse":[]}',
        b'{"HTTPResponse":{"StatusCode":"403"}}',
        b'{"HTTPResponse":{"StatusCode":403.0}}',
        b'{"HTTPResponse":{"StatusCode":true}}',
        b'{"HTTPResponse":{"StatusCode":100}}',
        b'{"HTTPResponse":{"StatusCode":1000}}',
        b'{"HTTPResponse":{"StatusCode":-1}}',
        b'{"HTTPResponse":{"StatusCode":9223372036854775808}}',
        b'{"HTTPResponse":{"Body":5}}',
        b'{"HTTPResponse":{"Header":{"X":["y"]}}}',
        b'{"ChangeFileInfo":{"ID":5}}',
        b'{"ChangeFileInfo":{"MetaData":{"a":1}}}',
        b'{"ChangeFileInfo":{"Storage":{"Path":[]}}}',
        b'{"CacheSeconds":1e300}',
        b'{"CacheSeconds":' + b"9" * 400 + b"}",
        b'{"CacheSeconds":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_go_could_not_read_is_a_failure(text: bytes) -> None:
    with pytest.raises(HookFailure, match=r"^failed to parse hook response: ") as caught:
        decode_answer(text)
    assert caught.value.was_received


KEYS = (
    *("HTTPResponse", "StatusCode", "Body", "Header", "RejectUpload", "RejectTermination", "RejectAccess"),
    *("StopUpload", "ChangeFileInfo", "ID", "MetaData", "Storage", "Path", "CacheSeconds"),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | objects(inner),
    max_leaves=8,
)


@given(st.binary() | (objects(values) | values).map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_answer_or_a_failure(text: bytes) -> None:
    try:
        answer = decode_answer(text)
    except HookFailure:
        return
    assert answer.response.status == 0 or 200 <= answer.response.status <= 999
    answer.response.body.encode()
    answer.change_id.encode()
    json.dumps(answer.change_metadata, ensure_ascii=False).encode()
