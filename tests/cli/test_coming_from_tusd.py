"""The README's table says of everything that tusd has what has become of it here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import tusd_flags
from tests.cli.tested_rows import TESTED_BY
from tests.edge import README
from tusd_py.cli.table import FLAGS

TESTS = Path(__file__).parents[1]

VERDICTS = ("same", "better", "not offered")

EVENTS = "pre-create post-create post-receive pre-finish post-finish pre-terminate post-terminate"

HEADERS = """
    X-Request-ID X-HTTP-Method-Override X-Forwarded-Host X-Forwarded-Proto Forwarded Origin Expect Content-Type
    Upload-Offset Upload-Length Upload-Metadata Upload-Defer-Length Upload-Concat Upload-Incomplete Upload-Complete
    Upload-Draft-Interop-Version Upload-Limit Tus-Version Tus-Resumable Tus-Max-Size Tus-Extension Location Allow
    Cache-Control Access-Control-Allow-Origin Access-Control-Allow-Credentials Access-Control-Allow-Methods
    Access-Control-Allow-Headers Access-Control-Max-Age Access-Control-Expose-Headers Vary X-Content-Type-Options
    Range If-Range If-Modified-Since If-Unmodified-Since If-Match If-None-Match Accept-Ranges Content-Range
    Content-Disposition Last-Modified
"""

METRICS = """
    tusd_requests_total tusd_errors_total tusd_bytes_received tusd_uploads_created tusd_uploads_finished
    tusd_uploads_terminated tusd_connections_open tusd_hook_invocations_total tusd_hook_errors_total
    tusd_s3_request_duration_ms tusd_s3_disk_write_duration_ms tusd_s3_upload_semaphore_demand
    tusd_s3_upload_semaphore_limit process_* go_* promhttp_metric_handler_*
"""

LOG_EVENTS = """
    RequestIncoming ResponseOutgoing UploadCreated ChunkWriteStart ChunkWriteComplete UploadFinished UploadTerminated
    UploadInterrupted BodyReadError InternalServerError UploadStopTerminateError NetworkControlError
    NetworkTimeoutError HookInvocationStart HookInvocationFinish HookInvocationError HookStopUpload S3APICall
"""

FLAG_NAMES = [f"-{name}" for name, _, _ in tusd_flags.FLAGS]


def rows() -> Iterator[tuple[str, str, str]]:
    """Each name of the table with its verdict and what is said to that."""
    section = README.read_text().partition("\n## Coming from tusd\n")[2].partition("\n## ")[0]
    for names, verdict, remark in re.findall(r"^\| (`.*?) \| (.*?) \| ?(.*?) ?\|$", section, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", names):
            yield name, verdict, remark


@pytest.mark.parametrize("names", [FLAG_NAMES, EVENTS.split(), HEADERS.split(), METRICS.split(), LOG_EVENTS.split()])
def test_everything_that_tusd_has_stands_there_once(names: list[str]) -> None:
    listed = [name for name, _, _ in rows()]
    assert [name for name in names if listed.count(name) != 1] == []


def test_every_verdict_is_one_of_three_and_explained_where_it_is_not_same() -> None:
    for name, verdict, remark in rows():
        assert verdict in VERDICTS, name
        assert remark or verdict == "same" or name.startswith("tusd_s3_"), name


def test_what_is_not_offered_is_what_the_server_refuses() -> None:
    not_offered = {name for name, verdict, _ in rows() if verdict == "not offered" and name.startswith("-")}
    refused = {f"-{flag.name}" for flag in FLAGS.values() if flag.instead}
    assert not_offered == refused | {"-enable-h2c"}
    assert refused == {f"-{name}" for name in tusd_flags.NOT_OFFERED}


def test_what_is_the_same_is_tested() -> None:
    assert {name for name, verdict, _ in rows() if verdict == "same"} == TESTED_BY.keys()
    for name, test in TESTED_BY.items():
        file, _, function = test.partition("::")
        assert f"\ndef {function}(" in (TESTS / file).read_text(), name
