"""Values of our own flags that make no sense end the start in a sentence that names flag, value and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_combinations import given
from tusd_py.cli.combinations import refusals
from tusd_py.cli.serving import Fatal, build_app

BOUNDS = {
    "workers": "from 0 to 1000",
    "pipeline-concurrency": "from 1 to 1000",
    "max-header-bytes": "from 1024 to 67108864",
    "scan-max-size": "1 or more",
    "chunk-max-size": "0 or more",
    "min-free-space": "0 or more",
    "max-unfinished": "0 or more",
    "expire-after": "0s or more",
    "chunk-expire-after": "0s or more",
    "hooks-timeout": "0s or more",
    "signed-url-ttl": "1s or more",
    "signed-url-max-ttl": "1s or more",
}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("workers", value) for value in ("-1", "1001", "100000")),
        *(("pipeline-concurrency", value) for value in ("-1", "0", "1001", "100000000")),
        *(("max-header-bytes", value) for value in ("-1", "0", "10", "9223372036854775807")),
        *(("scan-max-size", value) for value in ("-1", "0")),
        *((name, "-1") for name in ("chunk-max-size", "min-free-space", "max-unfinished")),
        *((name, "-1s") for name in ("expire-after", "chunk-expire-after", "hooks-timeout")),
        *((name, value) for name in ("signed-url-ttl", "signed-url-max-ttl") for value in ("-1s", "0s", "500ms")),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_its_bounds(flag: str, value: str) -> None:
    assert list(refusals(given(f"-{flag}={value}"))) == [f"-{flag} must be {BOUNDS[flag]}, not {value}"]


PATH = "-api-path must be a path as it stands in URLs, such as /api, not "
INTERNAL = "-accel-redirect must be a path with a slash at both ends, such as /internal/, not "
PUBLIC = "-public-url must be an http or https URL without user and query, such as https://uploads.example.org, not "


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        *((("-api-path", value), PATH + repr(value)) for value in ("/a?b", "/a#b", "/a b", "/a/../b", "./a", "/%61")),
        *(
            (("-accel-redirect", value), INTERNAL + repr(value))
            for value in ("internal", "/internal", "internal/", "http://a/b/", "/a b/", "/a/../b/")
        ),
        *(
            (("-public-url", value), PUBLIC + repr(value))
            for value in (
                "nonsense",
                "ftp://a",
                "https://",
                "http://[a",
                "https://a/?b=c",
                "https://a/#b",
            )
        ),
        (("-public-url", "https://me:s3cret@a/"), PUBLIC + "'https://a/'"),
        (
            ("-signed-url-ttl", "48h"),
            "-signed-url-ttl must be at most 24h0m0s, as -signed-url-max-ttl is, not 48h0m0s",
        ),
    ],
)
def test_a_text_that_stands_for_nothing_is_refused_with_an_example(flags: tuple[str, ...], sentence: str) -> None:
    assert list(refusals(given(*flags))) == [sentence]


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-workers=0", "-max-header-bytes=1024", "-pipeline-concurrency=1000", "-scan-max-size=1"),
        ("-expire-after=0", "-chunk-expire-after=0", "-hooks-timeout=0", "-chunk-max-size=0"),
        ("-signed-url-ttl=48h", "-signed-url-max-ttl=48h"),
        ("-signed-url-max-ttl=30m",),  # which then is the time of links that nobody asked more for
        ("-api-path=", "-accel-redirect=", "-public-url="),
        ("-api-path=v2/api", "-accel-redirect=/internal/", "-public-url=https://a.example:8443/up"),
    ],
)
def test_what_makes_sense_is_taken(flags: tuple[str, ...]) -> None:
    assert not list(refusals(given(*flags)))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("-chunk-size", "0"), "-chunk-size must be a multiple of 65536, not 0"),
        (("-chunk-size", "-65536"), "-chunk-size must be a multiple of 65536, not -65536"),
        (("-chunk-size", "65537"), "-chunk-size must be a multiple of 65536, not 65537"),
        *(
            (
                ("-allowed-types", value),
                "-allowed-types must be media types such as .*, and '.*' is none",
            )
            for value in ("image/*", "png", ",", "image/png,,text/plain", "image/png,")
        ),
        (("-clamd", "nonsense"), "-clamd must be unix:/path or tcp://host:port, not 'nonsense'"),
        (("-clamd", "unix:relative"), "-clamd must be .* not 'unix:relative'"),
        (("-clamd", "tcp://localhost:99999"), "-clamd must be .* not 'tcp://localhost:99999'"),
        *(
            (("-thumbnails", value), f"-thumbnails must be sides of 1 to 4096 pixels, with commas, not '{value}'")
            for value in ("abc", "0", "128,99999", ",", "128,,256", "128, 256", "-1")
        ),
        *(
            (("-trusted-proxies", value), "-trusted-proxies must be networks such as 10.0.0.0/8: .*")
            for value in ("10.0.0.1/8", "proxy.example", ",", "10.0.0.0/8,", " ")
        ),
        (("-hooks-http", "http://me:s3cret@[bad"), "-hooks-http: hook endpoint must be an http or https URL"),
        (("-hooks-python", "nonsense"), "-hooks-python: 'nonsense' is not of the form module:object"),
        (("-webhook-url", "ftp://s3cret"), "-webhook-url: the URL of a webhook must be an http or https URL"),
        (("-redis-url", "http://s3cret"), "-redis-url must be like redis://.*"),
        (("-redis-url", "redis://a", "-redis-prefix", "{a}"), "-redis-prefix must be a text without braces"),
        (("-api-path", "/files"), "-base-path /files/ and -api-path /files/ hide one another"),
        (("-state-dir", "{data}"), "the state directory '{data}' must not hold the upload directory '{data}'"),
        (("-state-dir", "{data}/.."), "the state directory '{data}/..' must not hold the upload directory '{data}'"),
        (("-state-dir", "{data}/state"), "the state directory '{data}/state' is among the uploads in '{data}'; .*"),
        (("-state-dir", "{file}"), "unable to create directory: .*"),
        *(
            ((flag, file), sentence)
            for flag in ("-api-key-file", "-signing-key-file", "-webhook-secret-file", "-hooks-http-secret-file")
            for file, sentence in (
                ("{open}", "the key file '{open}' can be read or written by others .*: chmod 600 '{open}'"),
                ("{data}", "the key file '{data}' is not a regular file"),
                ("{data}/nowhere", "the key file '{data}/nowhere' cannot be read: No such file or directory"),
            )
        ),
        (("-api-key-file", "{empty}"), "there is no key in '{empty}'; .*"),
        (("-webhook-secret-file", "{empty}"), "-webhook-secret-file '{empty}': the secret must have at least 24 bytes"),
        (("-hooks-http-secret-file", "{empty}"), "-hooks-http-secret-file '{empty}': the secret must have .*"),
    ],
)
def test_what_cannot_be_used_is_refused_and_no_password_is_shown(
    tmp_path: Path, flags: tuple[str, ...], sentence: str
) -> None:
    places = {"data": str(tmp_path / "data"), "open": str(tmp_path / "open"), "empty": str(tmp_path / "empty")}
    places["file"] = places["empty"]
    for name, mode, text in (("open", 0o644, "k" * 40), ("empty", 0o600, "")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)

    def placed(text: str) -> str:
        return re.sub(r"{(\w+)}", lambda match: places.get(match[1], match[0]), text)

    values = given(*map(placed, ("-upload-dir={data}", "-webhook-url=http://a", "-hooks-http=http://a", *flags)))
    assert not list(refusals(values))
    with pytest.raises(Fatal) as refused:
        build_app(values)
    assert re.fullmatch(placed(sentence), str(refused.value))
