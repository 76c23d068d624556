"""The system calls of a running server, in the order in which they happened (by strace)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.running import Server, eventually, start_server

OPENS = ("open", "openat", "creat")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "copy_file_range", "sendfile", "splice")
SENDS = ("write", "writev", "sendto", "sendmsg")
SYNCS = ("fsync", "fdatasync")
MAKES = ("mkdir", "mkdirat")
LINKS = ("link", "linkat")
RENAMES = ("rename", "renameat", "renameat2")
UNLINKS = ("unlink", "unlinkat")
TRUNCATIONS = ("truncate", "ftruncate")
OTHER_SYNCS = ("sync", "syncfs", "msync")
WRITEBACK = ("sync_file_range",)

_TRACED = OPENS + WRITES + SENDS + SYNCS + MAKES + LINKS + RENAMES + UNLINKS + TRUNCATIONS + OTHER_SYNCS + WRITEBACK
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_UNFINISHED = "<unfinished ...>"
_NAMES = re.compile(r'\d+<([^<>]*)>|"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Call:
    """A system call that succeeded; `began` and `ended` are lines of the trace, which other calls may lie between.

    `paths` are the files of its descriptors and names (and the text that it writes), in the order of the arguments.
    """

    name: str
    arguments: str
    began: int
    ended: int
    paths: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = tuple(descriptor or quoted for descriptor, quoted in _NAMES.findall(self.arguments))
        object.__setattr__(self, "paths", found)

    def __str__(self) -> str:
        return f"{self.began:6} {self.name}({self.arguments})"


@dataclass(frozen=True)
class Step:
    """Calls of some names that touch a file; `has` is a text that their arguments contain.

    All such calls of a request belong to the step if `is_every`, else the first that is late enough.
    """

    names: Sequence[str]
    path: Path | str
    has: str = ""
    is_every: bool = True

    def matches(self, call: Call) -> bool:
        return call.name in self.names and str(self.path) in call.paths and self.has in call.arguments


def first(names: Sequence[str], path: Path | str, has: str = "") -> Step:
    return Step(names, path, has, is_every=False)


@dataclass(frozen=True)
class Request:
    """The calls from the end of the answer before to the end of this one, which is the last of them."""

    calls: tuple[Call, ...]

    @property
    def status(self) -> int:
        match = re.search(r"HTTP/1\.1 (\d{3})", self.calls[-1].arguments)
        assert match is not None
        return int(match[1])

    def those(self, step: Step) -> list[Call]:
        return [call for call in self.calls if step.matches(call)]

    def the_one(self, step: Step) -> Call:
        found = self.those(step)
        assert len(found) == 1, f"{len(found)} calls of {step}\n{self}"
        return found[0]

    def assert_order(self, *steps: Step) -> None:
        """Each step has ended when the next one begins, and the last one when the answer is written."""
        ended = -1
        for step in steps:
            found = self.those(step)
            if not step.is_every:
                found = [call for call in found if call.began > ended][:1]
            assert found, f"no call of {step} after line {ended}\n{self}"
            assert min(call.began for call in found) > ended, f"{step} came too early, before line {ended}\n{self}"
            ended = max(call.ended for call in found)
        assert ended < self.calls[-1].began, f"the answer came too early, before line {ended}\n{self}"

    def __str__(self) -> str:
        return "\n".join(map(str, self.calls))


class TracedServer(Server):
    """A running server that strace looks at, or makes a fault in."""

    def __init__(self, server: Server, trace: Path) -> None:
        super().__init__(server.process, server.log, server.upload_dir)
        self.url = server.url
        self._trace = trace

    def calls(self) -> list[Call]:
        """Stop the server; everything that it did until then."""
        if self.process.poll() is None:
            self.terminate()
        ending = re.compile(rf"^{self.pid} +\+\+\+ (exited|killed)", re.MULTILINE)
        eventually(lambda: ending.search(self._trace.read_text()))
        return parse_trace(self._trace.read_text().splitlines())

    def requests(self) -> list[Request]:
        """Stop the server; what it did below its directory for each request.

        The requests must have come one after the other.
        """
        requests: list[Request] = []
        calls: list[Call] = []
        for call in self.calls():
            is_answer = call.name in SENDS and '"HTTP/1.1 ' in call.arguments
            if is_answer or any(path.startswith(str(self.upload_dir)) for path in call.paths):
                calls.append(call)
            if is_answer:
                requests.append(Request(tuple(calls)))
                calls = []
        return requests


@contextmanager
def traced_server(folder: Path, *flags: str, fault: str = "") -> Iterator[TracedServer]:
    """A server on `folder`/data under strace, which is a Debian package; `fault` is one of its `inject` expressions."""
    assert shutil.which("strace"), "these tests need strace (apt-get install strace)"
    folder.mkdir(exist_ok=True)
    folder = folder.resolve()
    trace = folder / "trace"
    names = ",".join(f"?{name}" for name in dict.fromkeys(_TRACED))
    # -D: the server is our child, so that a signal reaches it and not strace.
    strace = ["strace", "-D", "-f", "-y", "-s", "64", "-o", str(trace), "-e", f"trace={names}"]
    strace += ["-e", f"inject={fault}"] if fault else []
    server = TracedServer(start_server(folder / "data", *flags, wrapper=strace), trace)
    try:
        yield server
        assert "Traceback" not in server.output()
    finally:
        server.close()


def parse_trace(lines: Sequence[str]) -> list[Call]:
    """The calls that succeeded, in the order in which they ended.

    A call of one thread that lies across lines of others comes in two parts.
    """
    calls: list[Call] = []
    unfinished: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        thread, _, text = line.partition(" ")
        text, began = text.strip(), number
        if text.endswith(_UNFINISHED):
            unfinished[thread] = (number, text.removesuffix(_UNFINISHED))
            continue
        if resumed := _RESUMED.fullmatch(text):
            began, start = unfinished.pop(thread)
            text = start + resumed[1]
        match = _CALL.match(text)
        if match and int(match[3]) >= 0:
            calls.append(Call(match[1], match[2], began, number))
    return calls
