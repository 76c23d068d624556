"""`python -m conformance.bench`: measure upload servers side by side, from outside."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from .contenders import CONTENDERS, Contender, peer
from .machine import look_at_machine
from .measures import Load
from .payload import GIB
from .results import Results
from .rounds import Measurement, Places
from .shapes import SHAPES, Shape, resized
from .tables import as_markdown, as_text, goals_as_text

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
_SUFFIXES = {"K": 1024, "M": 1024**2, "G": 1024**3}
_QUICK_ROUNDS = 1
_SPACE = 8 * GIB

Named = TypeVar("Named", Shape, Contender)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a server was broken."""
    options = _parse(arguments)
    contenders = (*CONTENDERS, *options.peer)
    shapes = [_by_name(SHAPES, name) for name in options.shapes or [each.name for each in SHAPES]]
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # also for the servers
    machine = look_at_machine()
    print(machine, flush=True)
    free = shutil.disk_usage(options.memory).free
    if free < _SPACE and not options.quick:
        print(f"{options.memory} has {free / GIB:.1f} GiB left; all shapes need {_SPACE / GIB:.0f} (--memory, --set)")
    all_results: list[Results] = []
    for shape in shapes:
        load = _load(options, shape)
        chosen = _chosen(options, shape, contenders)
        rounds = options.rounds or (_QUICK_ROUNDS if options.quick else 5)
        began = time.monotonic()
        measurement = Measurement(shape, load, Places(options.memory, options.disk))
        rows = measurement.run(chosen, rounds, _tell)
        results = Results(shape, measurement.title, rows)
        all_results.append(results)
        base = next((row.contender for row in rows if row.rounds), "ours")
        _tell("")
        print(f"\n{as_text(results, base)}\n  ({time.monotonic() - began:.0f} s)", flush=True)
    if not options.quick:
        print(f"\n{goals_as_text(all_results, machine)}")
    if options.markdown:
        print(f"\n{as_markdown(all_results, machine)}")
    if options.json:
        content = {"machine": asdict(machine), "shapes": [results.as_json() for results in all_results]}
        options.json.write_text(json.dumps(content, indent=2))
    return int(any(row.trouble for results in all_results for row in results.rows))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [("shapes:", ""), *((each.name, each.titled(each.load)) for each in SHAPES)]
    names += [("contenders:", ""), *((each.name, each.command) for each in CONTENDERS)]
    parser = argparse.ArgumentParser(
        prog="python -m conformance.bench",
        description=__doc__,
        epilog="\n".join(f"{name:<16}{text}" for name, text in names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shapes", type=_names, help="some of those below, with commas", metavar="NAMES")
    parser.add_argument("--contenders", type=_names, help="some of those below and peers, with commas", metavar="NAMES")
    parser.add_argument(
        "--peer", type=_peer, action="append", default=[], metavar='"NAME=COMMAND"',
        help="one more contender, with uploads at /files/; {port} and {dir} are filled in; can be given again",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, help="to measure, after one that is dropped (5, or 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether all works, and no numbers of worth")
    parser.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="SHAPE.NUMBER=VALUE", dest="settings",
        help="another size or count, as patch.size=64M; a wrong name is answered with those that there are",
    )  # fmt: skip
    memory = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    parser.add_argument("--memory", type=Path, default=memory, help=f"a tmpfs for the servers' files ({memory})")
    disk = Path(tempfile.gettempdir())
    parser.add_argument("--disk", type=Path, default=disk, help=f"where the shapes that are about a disk go ({disk})")
    parser.add_argument("--json", type=Path, help="write everything, also each round, to this file", metavar="FILE")
    parser.add_argument("--markdown", action="store_true", help="print all of it as Markdown as well")
    return parser.parse_args(arguments)


def _load(options: argparse.Namespace, shape: Shape) -> Load:
    load = shape.quick if options.quick else shape.load
    try:
        return resized(load, [(name, value) for of, name, value in options.settings if of == shape.name])
    except ValueError as error:
        raise SystemExit(f"--set {shape.name}: {error}") from error


def _chosen(options: argparse.Namespace, shape: Shape, contenders: Sequence[Contender]) -> list[Contender]:
    """The named ones; else those of the shape, and the peers with every shape that is not about ours alone."""
    if options.contenders:
        return [_by_name(contenders, name) for name in options.contenders]
    groups = {*shape.contenders, *(("peer",) if "plain" in shape.contenders else ())}
    return [each for each in contenders if each.group in groups or each.name in groups]


def _by_name(all_of_them: Sequence[Named], name: str) -> Named:
    for each in all_of_them:
        if each.name == name:
            return each
    raise SystemExit(f"there is no {name}, but {', '.join(each.name for each in all_of_them)}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _peer(text: str) -> Contender:
    try:
        return peer(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _setting(text: str) -> tuple[str, str, float]:
    where, _, value = text.partition("=")
    shape, _, name = where.partition(".")
    try:
        return shape, name, float(value.rstrip("KMG")) * _SUFFIXES.get(value[-1:], 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not SHAPE.NUMBER=VALUE") from error


def _tell(text: str) -> None:
    """What goes on, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _stop(*_: object) -> None:
    """The end that also ends the servers, and takes their files away."""
    sys.exit("stopped")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
