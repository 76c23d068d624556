"""The bench: what it tells, not what it measures, which no test can know."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.bench.goals import GOALS, measured
from conformance.bench.machine import Machine
from conformance.bench.measures import BYTES, Round
from conformance.bench.messages import Request, whole_body
from conformance.bench.payload import GIB, MIB
from conformance.bench.processes import cpu_seconds, peak_memory
from conformance.bench.results import Results, by_cpu, by_speed, percentile
from conformance.bench.rounds import Row
from conformance.bench.server import Cost
from conformance.bench.shapes import SHAPES
from conformance.bench.tables import as_markdown, as_text

ROOT = Path(__file__).parent.parent

# Answers everything as it should, and keeps no byte.
FORGETFUL = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        self.send_response({"POST": 201, "PATCH": 204}.get(self.command, 200))
        self.send_header("Location", "/files/1")
        self.send_header("Upload-Offset", str(length))
        self.send_header("Tus-Extension", "creation")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_OPTIONS = do_POST = do_PATCH = do_HEAD = answer

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def run_bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance.bench", "--quick", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_run_tells_speed_cost_and_ratios_of_all_contenders(tmp_path: Path) -> None:
    shapes, contenders = ["patch", "small-8", "chunks"], ["ours", "limit"]
    file = tmp_path / "results.json"
    named = ["--shapes", ",".join(shapes), "--contenders", ",".join(contenders)]
    result = run_bench(*named, "--memory", tmp_path, "--json", file, "--markdown")
    assert result.returncode == 0, result.stdout + result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    told = json.loads(file.read_text())
    assert told["machine"]["description"] in result.stdout
    assert [shape["shape"] for shape in told["shapes"]] == shapes
    for shape in told["shapes"]:
        assert shape["title"] in result.stdout
        assert list(shape["contenders"]) == contenders
        for name, row in shape["contenders"].items():
            other = next(each for each in contenders if each != name)
            assert min(row["speed"], row["cpu"], row["memory"], row["rounds"][0]["seconds"]) > 0
            assert set(row["speed ratio to"]) == set(row["cpu ratio to"]) == {other}
    assert "complete p99 ms" in told["shapes"][2]["contenders"]["ours"]["further"]


def test_a_server_that_keeps_nothing_is_broken_and_not_fast(tmp_path: Path) -> None:
    program, file = tmp_path / "forgetful.py", tmp_path / "results.json"
    program.write_text(FORGETFUL)
    peer = f"forgetful={sys.executable} {program} {{port}} {{dir}}"
    named = ["--shapes", "patch,sha256", "--contenders", "forgetful", "--peer", peer]
    result = run_bench(*named, "--memory", tmp_path, "--json", file)
    assert result.returncode == 1, result.stdout + result.stderr
    plain, hashed = (shape["contenders"]["forgetful"] for shape in json.loads(file.read_text())["shapes"])
    assert "of 1 uploads of 8388608 bytes, 0 are right on the disk" in plain["trouble"]
    assert hashed == {"lacks": "no checksum", "trouble": None}


def rows_of(speeds: dict[str, list[float]], cpu: dict[str, float], memory: int = 50 * MIB) -> list[Row]:
    """Rounds of one GiB, at so many MiB a second and processor seconds."""
    return [
        Row(name, [Round(GIB, Cost(GIB / MIB / speed, cpu[name], memory)) for speed in rounds])
        for name, rounds in speeds.items()
    ]


def test_ratios_are_those_of_rounds_side_by_side() -> None:
    shape = next(each for each in SHAPES if each.name == "patch")
    assert shape.unit is BYTES
    # The machine is twice as slow in one of the rounds, for both: that is not seen in the ratio.
    speeds = {"ours": [900.0, 450.0, 1000.0], "limit": [1000.0, 500.0, 1000.0]}
    results = Results(shape, "a title", rows_of(speeds, {"ours": 0.6, "limit": 0.5}))
    ours = results.row("ours")
    assert ours is not None
    figures = results.figures(ours)
    assert (round(figures.speed), round(figures.cpu, 3), figures.memory) == (900, 0.6, 50)
    assert figures.spread is not None
    assert round(figures.spread, 3) == round((1000 - 450) / 2 / 900, 3)
    speed, cpu = (results.ratio("ours", "limit", value) for value in (by_speed, by_cpu))
    assert (round(speed or 0, 6), round(cpu or 0, 6)) == (0.9, 1.2)
    assert results.ratio("ours", "nobody", by_speed) is None


def test_a_goal_is_met_not_met_or_not_measured() -> None:
    shape = next(each for each in SHAPES if each.name == "patch")
    speeds = {"ours": [1000.0], "limit": [1000.0], "@tus/server": [100.0]}
    rows = [*rows_of(speeds, {"ours": 0.6, "limit": 0.5, "@tus/server": 2.0}), Row("other", lacks="no program")]
    results = Results(shape, "a title", rows)
    machine = Machine("a machine", hash_cpu=0.7, load=0.0)
    verdicts = {}
    for goal in GOALS:
        if goal.shape == "patch":
            value = measured(goal, {"patch": results}, machine)
            verdicts[goal.measure, goal.against] = None if value is None else goal.is_met(value)
    assert verdicts == {
        ("speed", "tusd"): None,
        ("cpu", "tusd"): None,
        ("speed", "@tus/server"): True,
        ("cpu", "limit"): False,
    }
    text, markdown = as_text(results, "ours"), as_markdown([results], machine)
    assert "other: no program" in text
    assert "| a title | cpu ≤ 1.1 × limit | 1.20 | not met |" in markdown


def test_what_is_hashed_may_cost_the_limit_and_the_hash() -> None:
    by_name = {
        name: Results(shape, name, rows_of({"ours": [500.0], "limit": [600.0]}, cpu))
        for name, cpu in (("patch", {"ours": 0.5, "limit": 0.4}), ("sha256", {"ours": 1.2, "limit": 1.1}))
        for shape in SHAPES
        if shape.name == name
    }
    goal = next(each for each in GOALS if each.shape == "sha256")
    value = measured(goal, by_name, Machine("a machine", hash_cpu=0.7, load=0.0))
    assert value is not None
    assert round(value, 6) == round(1.2 / (0.4 + 1.1 * 0.7), 6)


def test_processes_that_ended_count() -> None:
    """A shell that waits for a child that uses a third of a second of processor time."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    script = f"{sys.executable} -c '{burn}'; echo done; read line"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"done\n"
        used, memory = cpu_seconds([shell.pid]), peak_memory([shell.pid])
    assert used >= 0.29
    assert memory > 0
    assert cpu_seconds([shell.pid]) == 0


@pytest.mark.parametrize(
    ("received", "body"),
    [
        (b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"5\r\nhello\r\n0\r\n", None),
        (b"5\r\nhel", None),
        (b"", None),
    ],
)
def test_an_answer_in_chunks_is_read_to_its_end(received: bytes, body: bytes | None) -> None:
    head = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked"
    assert whole_body(Request("POST", "/files/", 201), head, received) == body


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([float(value) for value in range(1, 101)], 99) == 99
    assert percentile([3.0], 99) == 3.0
