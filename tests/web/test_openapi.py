"""The OpenAPI document: it describes all of the API, and the running server does what it says (schemathesis)."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chunked import fields_of
from tests.running import Server, ServerStarter
from tests.web.api import SMALL_CHUNKS, ApiClient, announcement, key_file
from tusd_py.core import errors
from tusd_py.core.errors import Problem
from tusd_py.web.api import Api, ApiOptions

CONFIGURATION = """\
warnings = false
seed = {seed}

[generation]
max-examples = {examples}

[dictionaries]
uploads = {{ values = {uploads} }}
files = {{ values = {files} }}
numbers = {{ values = [0] }}

# Half of the ids are real ones: those of an open upload, a finished one, one that came by tus, and their files.
[parameters]
"path.uploadId" = {{ dictionary = "uploads", probability = 0.5 }}
"path.fileId" = {{ dictionary = "files", probability = 0.5 }}
"path.number" = {{ dictionary = "numbers", probability = 0.5 }}

# Some refuse what is too large, or has no length, by a status of its own.
[checks]
negative_data_rejection.expected-statuses = {refusals}
missing_required_header.expected-statuses = {refusals}

# A schema cannot say that a chunk has the length and the digest that belong to it.
[[operations]]
include-operation-id = ["putChunk", "complete"]
checks.positive_data_acceptance.expected-statuses = ["200", "400", "401", "404", "409", "410", "413", "422"]
"""

REFUSALS = ["400", "401", "403", "404", "405", "409", "410", "411", "413", "415", "422"]

ROOT = Path(__file__).parents[2]

KEY = "k" * 40


def document_of(server: Server) -> dict[str, Any]:
    answer = server.request("GET", "/api/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return fields_of(answer)


def operations(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def run_schemathesis(folder: Path, api: ApiClient, examples: int, *options: str, seed: int = 1) -> None:
    """Try everything that the document says on the server, and much that it does not; the same with the same seed."""
    opened = api.initiate(b"hello")
    done, file_id = api.upload(b"hello")
    by_tus = api.server.create(0).rpartition("/")[2]
    tus_file_id = api.status(by_tus)["fileId"]
    (folder / "schemathesis.toml").write_text(
        CONFIGURATION.format(
            seed=seed,
            examples=examples,
            uploads=json.dumps([opened, done, by_tus]),
            files=json.dumps([file_id, tus_file_id]),
            refusals=json.dumps(REFUSALS),
        )
    )
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "run"]
    command += [f"http://127.0.0.1:{api.server.port}/api/openapi.json", "--checks", "all", "--no-color", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.web.openapi_hooks"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_server_does_what_the_document_says(api: ApiClient, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--long"):
        run_schemathesis(tmp_path, api, 500, seed=secrets.randbelow(2**32))
    else:
        run_schemathesis(tmp_path, api, 12)


def test_where_keys_are_asked_for_the_document_says_so_and_they_are(start: ServerStarter, tmp_path: Path) -> None:
    server = start(*SMALL_CHUNKS, "-api-key-file", str(key_file(tmp_path, KEY)), "-downloads", "signed")
    for (_, path), operation in operations(document_of(server)).items():
        assert operation["security"] == ([] if path == "/openapi.json" else [{"apiKey": []}])
    header = f"Authorization: Bearer {KEY}"
    run_schemathesis(tmp_path, ApiClient(server, key=KEY), 1, "--phases", "coverage", "--header", header)


def test_the_document_has_exactly_the_routes_of_the_server(api: ApiClient) -> None:
    anything: Any = None
    options = ApiOptions(api_path="/api", base_path="/files/", max_size=0, allowed_types=frozenset())
    api_routes = Api(anything, anything, anything, anything, anything, anything, options).routes
    served = {(route.method, re.sub(r"{.*?}", "{}", route.path)) for route in api_routes}
    described = {(method, re.sub(r"{.*?}", "{}", path)) for method, path in operations(document_of(api.server))}
    assert described == served


def test_the_document_has_every_code_of_the_api_with_its_status(api: ApiClient) -> None:
    table = {value.code: value for value in vars(errors).values() if isinstance(value, Problem)}
    described = set()
    for operation in operations(document_of(api.server)).values():
        for status, response in operation["responses"].items():
            if status[0] not in "45":
                continue
            reference, narrowed = response["content"]["application/json"]["schema"]["allOf"]
            assert reference == {"$ref": "#/components/schemas/Error"}
            for code in narrowed["properties"]["code"]["enum"]:
                described.add(code)
                assert table[code].status == int(status)
                assert table[code].message in response["description"]
    names = vars(errors)
    ours = [name for name in names if list(names).index(name) > list(names).index("NOT_FOUND")]
    elsewhere = {"ERR_METHOD_NOT_ALLOWED", "ERR_UNAUTHORIZED", "ERR_LINK_REQUIRED", "ERR_INVALID_LINK"}
    assert {names[name].code for name in ours if isinstance(names[name], Problem)} - described == elsewhere


def test_the_document_tells_the_limits_of_its_server(start: ServerStarter) -> None:
    document = document_of(start("-chunk-max-size", "1000", "-allowed-types", "image/png,text/x+y"))
    announced = document["components"]["schemas"]["Initiation"]["properties"]
    assert announced["fileSize"]["maximum"] == 1000
    pattern = announced["contentType"]["pattern"]
    assert re.fullmatch(pattern, "image/png")
    assert re.fullmatch(pattern, "text/x+y; charset=utf-8")
    assert not re.fullmatch(pattern, "text/plain")
    unlimited = document_of(start("-chunk-max-size", "0", "-allowed-types", ""))
    announced = unlimited["components"]["schemas"]["Initiation"]["properties"]
    assert announced["fileSize"]["maximum"] == 100_000 * 5 * 1024**2  # as many chunks as there may be
    assert "pattern" not in announced["contentType"]


def test_the_document_knows_where_it_is_and_what_is_switched_off(start: ServerStarter) -> None:
    server = start("-api-path", "/v1/", "-behind-proxy", "-disable-download")
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "files.example"}
    document = fields_of(server.request("GET", "/v1/openapi.json", forwarded))
    assert document["servers"] == [{"url": "https://files.example/v1"}]
    assert not [path for _, path in operations(document) if path.endswith("/download")]
    assert "linkToUpload" not in json.dumps(document)


def test_the_example_of_the_document_works(api: ApiClient) -> None:
    [example] = document_of(api.server)["components"]["schemas"]["Initiation"]["examples"]
    assert example == announcement(b"hello")
    assert api.announce(example).status == 201
