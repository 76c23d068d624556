import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core.chunks import DEFAULT_TYPES
from tusd_py.core.disposition import INLINE_TYPES, content_disposition
from tusd_py.core.types import EMPTY, OCTET_STREAM, accepts, canonical, judge, refined, served_type

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
PORTABLE = "application/vnd.microsoft.portable-executable"
WITH_A_MAGIC = (
    *("image/jpeg", "image/jpg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/heic"),
    *("application/pdf", "application/zip", "application/x-zip-compressed", "application/gzip", "application/x-xz"),
    *("video/mp4", "video/quicktime", "audio/mp4", "video/webm", "video/x-matroska", "audio/ogg", "audio/flac"),
    *(DOCX, ODT, "application/epub+zip", "application/msword", "image/svg+xml"),
)
TEXTS = (
    *("text/plain", "text/html", "text/csv", "text/x-shellscript", "text/x-script.python", "text/x-c", "text/x-php"),
    *("application/json", "application/x-ndjson", "application/javascript", "application/x-subrip", "text/xml"),
    *("message/rfc822", "image/svg+xml", "application/postscript", "application/x-wine-extension-ini"),
    *("application/vnd.hp-HPGL", "image/x-portable-greymap", "application/x-matlab-data", "audio/x-ape"),
)
PROGRAMS = ("application/x-executable", "application/x-sharedlib", "application/x-dosexec", PORTABLE)

TYPES = st.text() | st.from_regex(r"(?:text|image|video|application)/[a-z.+*-]{1,12}", fullmatch=True)


# --- claims and what they accept ---


@pytest.mark.parametrize("kind", DEFAULT_TYPES)
def test_every_type_is_what_it_is_called(kind: str) -> None:
    assert judge(kind, kind) is None
    assert judge(kind.upper() + "; charset=utf-8", kind) is None


@pytest.mark.parametrize(
    "claim",
    [
        *("text/plain", "text/csv", "text/markdown", "text/x-python", "text/javascript", "text/html", "text/x-made-up"),
        *("application/json", "application/geo+json", "application/xml", "application/javascript", "application/yaml"),
        *("application/x-sh", "message/rfc822", "application/vnd.apple.mpegurl"),
    ],
)
def test_text_may_look_like_any_other_text(claim: str) -> None:
    for detected in (*TEXTS, OCTET_STREAM):
        assert judge(claim, detected) is None


@pytest.mark.parametrize(
    ("claim", "detected"),
    [
        ("image/jpg", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("image/apng", "image/png"),
        ("image/x-ms-bmp", "image/bmp"),
        ("image/x-icon", "image/vnd.microsoft.icon"),
        ("image/heif", "image/heic"),
        ("image/avif", "image/heif"),
        ("image/svg+xml", "text/xml"),
        ("image/svg+xml", "text/plain"),
        ("image/svg+xml", "application/gzip"),
        ("image/x-canon-cr2", "image/tiff"),
        ("video/mp4", "video/x-m4v"),
        ("video/mp4", "video/quicktime"),
        ("video/mp4", "audio/mp4"),
        ("video/mp4", "video/3gpp"),
        ("video/quicktime", "video/mp4"),
        ("audio/x-m4a", "video/mp4"),
        ("audio/mp4", "audio/x-m4a"),
        ("video/webm", "video/x-matroska"),
        ("audio/webm", "video/webm"),
        ("video/x-matroska", "video/webm"),
        ("audio/ogg", "video/ogg"),
        ("application/ogg", "audio/ogg"),
        ("audio/mp3", "audio/mpeg"),
        ("audio/mpeg", OCTET_STREAM),
        ("audio/aac", "audio/x-hx-aac-adts"),
        ("audio/wav", "audio/x-wav"),
        ("video/mp2t", "video/MP2T"),
        ("video/mp2t", "application/javascript"),
        ("application/zip", DOCX),
        ("application/zip", ODT),
        ("application/zip", "application/java-archive"),
        ("application/x-zip-compressed", "application/zip"),
        ("application/x-gzip", "application/gzip"),
        ("application/x-gtar", "application/gzip"),
        ("application/x-rar-compressed", "application/x-rar"),
        (DOCX, "application/zip"),
        (DOCX, XLSX),
        (DOCX, "application/encrypted"),
        (ODT, "application/zip"),
        ("application/epub+zip", "application/zip"),
        ("application/msword", "text/rtf"),
        ("application/vnd.ms-excel", "text/csv"),
        ("application/vnd.ms-excel", XLSX),
        ("application/vnd.ms-powerpoint", "application/x-ole-storage"),
        ("application/x-msdownload", PORTABLE),
        ("application/x-elf", "application/x-pie-executable"),
        ("application/x-made-up", "application/zip"),
        ("application/x-made-up", OCTET_STREAM),
        ("model/stl", OCTET_STREAM),
        ("font/woff2", "font/woff2"),
    ],
)
def test_honest_files_pass_whatever_libmagic_calls_them(claim: str, detected: str) -> None:
    assert judge(claim, detected) is None


@pytest.mark.parametrize(
    "claim", [*DEFAULT_TYPES, DOCX, "image/svg+xml", "text/html", "audio/mpeg", "model/stl", "x/y"]
)
def test_a_program_is_nothing_else(claim: str) -> None:
    for program in PROGRAMS:
        assert judge(claim, program) == f"the file is called {claim} and is {program}"


@pytest.mark.parametrize("claim", WITH_A_MAGIC)
def test_unknown_bytes_contradict_a_claim_that_has_a_magic_of_its_own(claim: str) -> None:
    assert judge(claim, OCTET_STREAM)


@pytest.mark.parametrize(
    ("claim", "detected"),
    [
        ("image/png", "image/jpeg"),
        ("image/png", "text/html"),
        ("image/png", "image/svg+xml"),
        ("image/jpeg", "application/zip"),
        ("text/plain", "image/png"),
        ("text/plain", "application/pdf"),
        ("text/html", "application/zip"),
        ("application/pdf", "text/plain"),
        ("application/zip", "application/pdf"),
        ("application/zip", "application/gzip"),
        ("application/gzip", "application/zip"),
        (DOCX, "text/html"),
        ("video/mp4", "video/webm"),
        ("video/webm", "video/mp4"),
        ("image/svg+xml", "image/png"),
        ("application/x-msdownload", "application/pdf"),
    ],
)
def test_a_file_that_is_called_something_else_is_refused(claim: str, detected: str) -> None:
    assert judge(claim, detected) == f"the file is called {claim} and is {detected}"


@pytest.mark.parametrize("claim", ["", OCTET_STREAM, "Application/Octet-Stream; x=y", " "])
def test_a_claim_of_nothing_contradicts_nothing(claim: str) -> None:
    for detected in (*PROGRAMS, *TEXTS, "image/png", OCTET_STREAM):
        assert judge(claim, detected) is None


# --- lists of allowed types ---


@pytest.mark.parametrize(
    ("claim", "detected"),
    [
        ("image/png", "image/png"),
        ("image/jpg", "image/jpeg"),
        ("", "image/png"),
        (OCTET_STREAM, "application/pdf"),
        ("text/plain", "text/x-shellscript"),
        ("text/plain", "text/html"),
        ("text/plain", OCTET_STREAM),
        ("video/mp4", "video/quicktime"),
        ("video/mp4", "video/x-m4v"),
        ("", "video/x-m4v"),
        ("video/webm", "video/x-matroska"),
        ("application/zip", DOCX),
        ("text/csv", "text/plain"),
        (DOCX, "application/zip"),
    ],
)
def test_what_is_on_the_list_or_accepted_by_a_claim_on_it_is_allowed(claim: str, detected: str) -> None:
    assert judge(claim, detected, DEFAULT_TYPES) is None


@pytest.mark.parametrize(
    ("claim", "detected"),
    [
        ("", "text/html"),
        ("", "text/x-shellscript"),
        ("", "video/quicktime"),
        ("", OCTET_STREAM),
        (OCTET_STREAM, OCTET_STREAM),
        (OCTET_STREAM, "application/x-executable"),
        ("", "image/svg+xml"),
        ("text/html", "text/html"),
        ("image/svg+xml", "image/svg+xml"),
        (DOCX, DOCX),
        ("application/x-made-up", "application/x-7z-compressed"),
    ],
)
def test_what_is_not_on_the_list_is_refused(claim: str, detected: str) -> None:
    assert judge(claim, detected, DEFAULT_TYPES) == f"the file is {detected}, which is not allowed"


def test_unknown_bytes_on_the_list_allow_no_programs() -> None:
    assert judge("", OCTET_STREAM, [OCTET_STREAM]) is None
    assert judge(OCTET_STREAM, "application/x-executable", [OCTET_STREAM]) is not None


def test_a_list_knows_the_other_names_of_its_types() -> None:
    assert judge("", "application/zip", ["application/x-zip-compressed"]) is None
    assert judge("image/jpeg", "image/jpeg", ["image/JPG"]) is None


def test_a_contradiction_is_refused_though_both_are_on_the_list() -> None:
    assert judge("image/png", "application/zip", DEFAULT_TYPES) is not None


@pytest.mark.parametrize("empty", [EMPTY, "inode/x-empty"])
@given(claim=TYPES, allowed_types=st.lists(TYPES))
def test_an_empty_file_always_passes(empty: str, claim: str, allowed_types: list[str]) -> None:
    assert judge(claim, empty, allowed_types) is None


@given(TYPES, TYPES, st.lists(TYPES))
def test_every_question_has_an_answer(claim: str, detected: str, allowed_types: list[str]) -> None:
    reason = judge(claim, detected, allowed_types)
    assert reason is None or (reason.startswith("the file is ") and len(reason) < len(detected) + 200)
    assert judge(claim, claim) is None


@given(TYPES, TYPES, st.lists(TYPES, min_size=1))
def test_a_list_allows_nothing_that_would_be_refused_without_it(
    claim: str, detected: str, allowed_types: list[str]
) -> None:
    if judge(claim, detected, allowed_types) is None:
        assert judge(claim, detected) is None


@given(TYPES)
def test_a_canonical_name_is_its_own(kind: str) -> None:
    assert canonical(canonical(kind)) == canonical(kind)


# --- what libmagic does not know ---


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x1cftypXAVC\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x18stypmsdh\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x08wide\0\0\x10\0mdat", "video/quicktime"),
        (b"\0\0\0\x10free\0\0\0\0\0\0\0\0", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x93\x42\x86\x81\x01", "video/x-matroska"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "application/zip"),
        (b"PK\x05\x06\0\0\0\0\0\0", "application/zip"),
        (b"the ftyp of text", OCTET_STREAM),
        (b"PK", OCTET_STREAM),
        (b"", OCTET_STREAM),
    ],
)
def test_the_first_bytes_tell_more_than_a_libmagic_that_knows_nothing(head: bytes, kind: str) -> None:
    assert refined(OCTET_STREAM, head) == kind


@given(st.binary(max_size=16))
def test_what_libmagic_knows_stands(head: bytes) -> None:
    assert refined("image/png", head) == "image/png"


# --- what files are served as ---


@pytest.mark.parametrize(
    ("claim", "detected", "served"),
    [
        ("text/plain; charset=utf-8", None, "text/plain; charset=utf-8"),
        ("text/plain; charset=utf-8", "text/x-shellscript", "text/plain; charset=utf-8"),
        ("text/csv", "text/plain", "text/csv"),
        ("text/plain", OCTET_STREAM, "text/plain"),
        ("text/plain", "text/html", "text/html"),
        ("text/plain", "image/svg+xml", "image/svg+xml"),
        ("text/html", "text/plain", "text/html"),
        (DOCX, "application/zip", DOCX),
        ("image/png", EMPTY, "image/png"),
        ("image/jpg", "image/jpeg", "image/jpg"),
        ("image/png", "image/jpeg", "image/jpeg"),
        (OCTET_STREAM, "image/png", "image/png"),
        ("", "text/html", "text/html"),
        ("", None, ""),
    ],
)
def test_a_file_is_served_as_its_claim_where_that_can_be_true(claim: str, detected: str | None, served: str) -> None:
    assert served_type(claim, detected) == served


ACTIVE = ("image/svg+xml", "text/html", "application/xhtml+xml", "text/xml", "application/xml")


@pytest.mark.parametrize("kind", [*ACTIVE, "text/javascript", "application/pdf"])
def test_what_can_carry_a_script_is_never_shown_in_place(kind: str) -> None:
    assert kind not in INLINE_TYPES
    assert content_disposition({"filetype": kind}) == "attachment"


@pytest.mark.parametrize("claim", [*sorted(INLINE_TYPES), "Text/Plain ; a=b", "text/html", "image/svg+xml", "", "x/y"])
def test_no_claim_makes_a_page_or_a_drawing_one_that_is_shown_in_place(claim: str) -> None:
    for detected in ACTIVE:
        assert content_disposition({"filetype": served_type(claim, detected)}) == "attachment"


@given(TYPES, TYPES)
def test_the_claim_or_the_detection_is_served(claim: str, detected: str) -> None:
    assert served_type(claim, detected) in {claim, detected}
    assert accepts(claim, detected) or served_type(claim, detected) == detected or canonical(detected) == EMPTY
