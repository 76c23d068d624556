"""`python -m conformance.bench`: measure the server that a command starts."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from .chunks import GIB, ChunkLoad, ChunkResults, measure_chunks
from .links import LinkLoad, LinkResult, measure_links
from .machine import describe_machine
from .running import Running
from .slow import SlowLoad, SlowResult, measure_slow_uploads

Load = SlowLoad | ChunkLoad | LinkLoad
Result = SlowResult | ChunkResults | LinkResult


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m conformance.bench", description=__doc__, epilog="The server's files are made below TMPDIR."
    )
    parser.add_argument(
        "--server-command",
        default="tusd-py -host 127.0.0.1 -port {port} -upload-dir {dir}",
        help="how to start the server; {port} and {dir} are filled in",
    )
    parser.add_argument("--path", default="/files/", help="where it serves uploads")
    parser.add_argument("--api-path", default="/api", help="where it serves the JSON API")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    shapes = parser.add_subparsers(dest="shape", required=True)
    slow = shapes.add_parser("slow", help="many slow uploads and idle connections at once")
    slow.add_argument("--uploads", type=int, default=1000)
    slow.add_argument("--idle", type=int, default=2000)
    slow.add_argument("--seconds", type=float, default=20.0)
    chunks = shapes.add_parser("chunks", help="a large file in numbered chunks, by several senders and by one in order")
    chunks.add_argument("--size", type=float, default=1.0, help="of the file, in GiB")
    chunks.add_argument("--senders", type=int, default=4)
    chunks.add_argument("--rounds", type=int, default=3)
    links = shapes.add_parser("links", help="signed links at a steady rate")
    links.add_argument("--rate", type=float, default=200.0, help="requests a second")
    links.add_argument("--files", type=int, default=100)
    links.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()

    load = _load(arguments)
    with Running(arguments.server_command, arguments.path) as server:
        result = _measure(server, arguments.api_path, load)
    machine = describe_machine()
    print(f"{machine}\n{result}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "load": asdict(load), **asdict(result)}, indent=2))


def _load(arguments: argparse.Namespace) -> Load:
    if arguments.shape == "slow":
        return SlowLoad(arguments.uploads, arguments.idle, arguments.seconds)
    if arguments.shape == "chunks":
        return ChunkLoad(int(arguments.size * GIB), arguments.senders, arguments.rounds)
    return LinkLoad(arguments.rate, arguments.files, arguments.seconds)


def _measure(server: Running, api_path: str, load: Load) -> Result:
    if isinstance(load, SlowLoad):
        return measure_slow_uploads(server, load)
    if isinstance(load, ChunkLoad):
        return measure_chunks(server, api_path, load)
    return measure_links(server, api_path, load)


if __name__ == "__main__":
    main()
