"""`python -m conformance.bench`: measure the server that a command starts."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from .machine import describe_machine
from .running import Running
from .slow import SlowLoad, measure_slow_uploads


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance.bench", description=__doc__)
    parser.add_argument(
        "--server-command",
        default="tusd-py -host 127.0.0.1 -port {port} -upload-dir {dir}",
        help="how to start the server; {port} and {dir} are filled in",
    )
    parser.add_argument("--path", default="/files/", help="where it serves uploads")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    shapes = parser.add_subparsers(dest="shape", required=True)
    slow = shapes.add_parser("slow", help="many slow uploads and idle connections at once")
    slow.add_argument("--uploads", type=int, default=1000)
    slow.add_argument("--idle", type=int, default=2000)
    slow.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()

    load = SlowLoad(arguments.uploads, arguments.idle, arguments.seconds)
    with Running(arguments.server_command, arguments.path) as server:
        result = measure_slow_uploads(server, load)
    machine = describe_machine()
    print(f"{machine}\n{result}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "load": asdict(load), **asdict(result)}, indent=2))


if __name__ == "__main__":
    main()
