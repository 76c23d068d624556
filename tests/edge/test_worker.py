"""The README's function for an edge with WebCrypto, in Node, beside `LinkSigner`."""

from __future__ import annotations

import json
import random
import shutil
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.edge import FILE_ID, OTHER_FILE_ID, readme_block, signature_over
from tusd_py.core.errors import UploadError
from tusd_py.core.links import LinkSigner

HARNESS = Path(__file__).parent / "worker_harness.mjs"
OLD_KEY, KEY = b"o" * 32, b"!~" * 32
KEY_FILE = f"# old\n{OLD_KEY.decode()}\n\n  # new\n{KEY.decode()}\r\n"
EXPIRES = 1_900_000_000
NOW = EXPIRES - 60.0

SIGNER = LinkSigner([OLD_KEY, KEY])
GOOD = SIGNER.query(FILE_ID, EXPIRES)
GOOD_SIGNATURE = SIGNER.sign(FILE_ID, EXPIRES)


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    (tmp_path / "worker.mjs").write_text(readme_block("// worker.js"))
    return tmp_path / "worker.mjs"


def in_node(worker: Path, task: dict[str, Any]) -> Any:
    """What the harness says of a task."""
    assert shutil.which("node"), "these tests need node (18 or newer)"
    command = ["node", str(HARNESS), str(worker)]
    output = subprocess.run(command, input=json.dumps(task), check=True, capture_output=True, text=True, timeout=60)
    return json.loads(output.stdout)


def statuses(worker: Path, urls: list[tuple[str, float]]) -> list[int]:
    checks = [{"url": url, "now": now} for url, now in urls]
    answer: list[int] = in_node(worker, {"keyFile": KEY_FILE, "checks": checks})
    return answer


def status_of_ours(subject: str, query: str, now: float) -> int:
    try:
        SIGNER.verify(subject, query, now)
    except UploadError as error:
        return error.problem.status
    return 200


def queries() -> list[str]:
    """Good links, and everything that one may try to make of them."""
    foreign = LinkSigner([b"f" * 32]).query(FILE_ID, EXPIRES)
    found = [
        GOOD,
        f"sig={GOOD_SIGNATURE}&expires={EXPIRES}",
        LinkSigner([OLD_KEY]).query(FILE_ID, EXPIRES),
        SIGNER.query(FILE_ID, EXPIRES + 10**9),
        foreign,
        SIGNER.query(OTHER_FILE_ID, EXPIRES),
        SIGNER.query(f"{FILE_ID}/thumbnail/256", EXPIRES),
        SIGNER.query(FILE_ID, int(NOW)),
        SIGNER.query(FILE_ID, int(NOW) + 1),
        SIGNER.query(FILE_ID, 1),
        SIGNER.query(FILE_ID, 10**19 - 1),
        SIGNER.query(FILE_ID, 10**19),
        LinkSigner([b""]).query(FILE_ID, EXPIRES),
        LinkSigner([b"# old"]).query(FILE_ID, EXPIRES),
        # The same bytes in other bits, and an expiry that some languages would read as a number.
        f"{GOOD[:-1]}{chr(ord(GOOD[-1]) + 1)}",
        f"expires=0x7fffffff&sig={signature_over(KEY, f'{FILE_ID}:0x7fffffff')}",
        *("", "expires", "sig", "expires&sig", "expires=&sig=", f"expires={EXPIRES}", f"sig={GOOD_SIGNATURE}"),
        *(
            f"{GOOD}{more}"
            for more in ("&", "&&", "&a", "&a=b", "&__proto__=1", "=", "&expires", "&sig=", "&a&a", "%00")
        ),
        *(f"{GOOD}&{again}" for again in (GOOD, foreign, f"expires={EXPIRES}", f"sig={GOOD_SIGNATURE}")),
        *(f"expires={text}&sig={GOOD_SIGNATURE}" for text in (f"0{EXPIRES}", f"+{EXPIRES}", f"{EXPIRES}.0", "1.9e9")),
        f"expires={EXPIRES}&sig={GOOD_SIGNATURE}=",
        f"Expires={EXPIRES}&Sig={GOOD_SIGNATURE}",
        f"%65xpires={EXPIRES}&sig={GOOD_SIGNATURE}",
    ]
    chance = random.Random(0)  # noqa: S311 -- the same cases each time
    for _ in range(300):
        query = list(GOOD)
        for _ in range(chance.randint(1, 2)):
            query[chance.randrange(len(query))] = chance.choice(string.ascii_letters + string.digits + "-_=&+/")
        found.append("".join(query))
    return found


def test_every_query_is_judged_as_the_server_does(worker: Path) -> None:
    vectors = queries()
    expected = [status_of_ours(FILE_ID, query, NOW) for query in vectors]
    assert min(expected.count(status) for status in (200, 400, 403)) > 3
    found = statuses(worker, [(f"https://files.example.org/files/{FILE_ID}?{query}", NOW) for query in vectors])
    differences = [row for row in zip(vectors, expected, found, strict=True) if row[1] != row[2]]
    assert not differences


def test_random_files_and_times_are_judged_as_the_server_does(worker: Path) -> None:
    chance = random.Random(1)  # noqa: S311 -- the same cases each time
    cases = []
    for _ in range(100):
        file_id = f"f_{chance.getrandbits(128):032x}"
        expires = chance.randint(1, 10**10)
        signer = LinkSigner([chance.choice((OLD_KEY, KEY, b"x" * 32))])
        cases.append((file_id, signer.query(file_id, expires), expires + chance.choice((-0.5, -1, 0, 1, 1e6, -1e6))))
    expected = [status_of_ours(*case) for case in cases]
    urls = [(f"https://files.example.org/files/{file_id}?{query}", now) for file_id, query, now in cases]
    assert statuses(worker, urls) == expected
    assert {200, 403} == set(expected)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/files/",
        f"/{FILE_ID}",
        f"/files/{FILE_ID}/",
        f"/files/{FILE_ID}.json",
        f"/files/{FILE_ID}%00",
        f"/files/{FILE_ID}%0a",
        f"/files//{FILE_ID}",
        f"/files/{FILE_ID.upper()}",
        f"/files/{FILE_ID}/../signing.keys",
        f"/files/%66{FILE_ID[1:]}",
        "/files/%2e%2e/signing.keys",
        "/files/0123456789abcdef0123456789abcdef",
        "/files/0123456789abcdef0123456789abcdef.info",
    ],
)
def test_only_the_addresses_of_files_are_passed_on(worker: Path, path: str) -> None:
    subject = path.removeprefix("/files/")
    urls = [f"https://files.example.org{path}?{query}" for query in (GOOD, SIGNER.query(subject, EXPIRES))]
    assert statuses(worker, [(url, NOW) for url in urls]) == [404, 404]


def test_a_good_request_is_fetched_as_it_is_and_others_are_answered_at_the_edge(worker: Path) -> None:
    good = f"https://files.example.org/files/{FILE_ID}?{SIGNER.query(FILE_ID, 10**11)}"
    requests = [good, f"{good}&sig=x", f"{good}x", "https://files.example.org/"]
    answers = in_node(worker, {"keyFile": KEY_FILE, "requests": requests})
    assert answers == {
        "statuses": [206, 400, 403, 404],
        "fetched": [{"url": good, "method": "GET", "range": "bytes=0-1"}],
    }
