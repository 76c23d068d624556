"""The servers that are measured: how each is started, and what it is told for the shapes that need more."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PEERS = Path(__file__).parent.parent / "peers"

# What a shape may need of a server beside tus; which extensions of tus it has, it tells by itself.
API, DISK, LINKS, TLS = "api", "disk", "links", "tls"


@dataclass(frozen=True)
class Contender:
    """A server by its command, with uploads at /files/ and the JSON API, if it has one, at /api.

    Placeholders: {port}, {dir}, {python}, {peers}; and of what is started beside it: {redis} a URL, {clamd} an address,
    {certificate} and {key} files. `options` are what it has of what shapes need, with the arguments that this takes.
    `group` says which contenders run if none are named.
    """

    name: str
    command: str
    options: Mapping[str, str] = field(default_factory=dict)
    group: str = "plain"

    def words(self, need: str | None) -> list[str]:
        return shlex.split(f"{self.command} {self.options[need] if need else ''}")

    def why_not_here(self) -> str | None:
        """Why it cannot be started on this machine."""
        for program, reason in _PROGRAMS.items():
            if program in self.command and not _is_here(program):
                return reason
        if "tusd_py" in self.command:
            unknown = [word for word in self.words(None) if word.startswith("-") and word not in _flags_of_ours()]
            if unknown:
                return f"the command has no {' '.join(unknown)}"
        return None


_OURS = "{python} -m tusd_py -host 127.0.0.1 -port {port} -upload-dir {dir}"
_OURS_OPTIONS = {API: "", LINKS: "", TLS: "-tls-certificate {certificate} -tls-key {key}", DISK: "-durability finish"}
_LIMIT = "{python} -m conformance.bench.limits {port} {dir}"
_LIMIT_OPTIONS = {API: "", TLS: "--certificate {certificate} --key {key}", DISK: "--flush"}
_NOT_FLUSHED = {DISK: ""}

CONTENDERS = (
    Contender("ours", _OURS, _OURS_OPTIONS),
    Contender("ours-2", _OURS + " -workers 2", _OURS_OPTIONS, group="many"),
    Contender("ours-redis", _OURS + " -redis-url {redis}", _OURS_OPTIONS, group="many"),
    Contender("ours-2-redis", _OURS + " -workers 2 -redis-url {redis}", _OURS_OPTIONS, group="many"),
    Contender("ours-pipeline", _OURS + " -detect -clamd {clamd} -thumbnails 128,512", _OURS_OPTIONS, group="pipeline"),
    Contender("@tus/server", "node {peers}/tus-node-server/server.mjs {port} {dir} 0", _NOT_FLUSHED),
    Contender("tuspyserver", "{python} {peers}/tuspyserver/server.py {port} {dir}", _NOT_FLUSHED),
    Contender("limit", _LIMIT, _LIMIT_OPTIONS),
    Contender("limit-splice", _LIMIT + " --splice", {DISK: "--flush"}),
)

_PROGRAMS = {
    "python} -m tusd_py": "pip install tusd-py",
    "{redis}": "redis-server is not here",
    "{clamd}": "clamd is not here",
    "tus-node-server": "(cd conformance/peers/tus-node-server && npm ci), which needs Node 20.19 or newer",
    "tuspyserver": "pip install tuspyserver uvicorn",
}


def peer(text: str) -> Contender:
    """What `--peer "NAME=COMMAND"` says.

    Raises:
        ValueError: it is not of this form, or does not say where its port and its directory go.
    """
    name, _, command = text.partition("=")
    if not name or "{port}" not in command or "{dir}" not in command:
        raise ValueError(f'{text!r} is not "name=command with {{port}} and {{dir}}"')
    return Contender(name, command, _NOT_FLUSHED, group="peer")


def _is_here(program: str) -> bool:
    if program == "{redis}":
        return shutil.which("redis-server") is not None
    if program == "{clamd}":
        return find_clamd() is not None
    if program == "tus-node-server":
        return shutil.which("node") is not None and (PEERS / "tus-node-server" / "node_modules").is_dir()
    module = "tuspyserver" if program == "tuspyserver" else "tusd_py"
    return importlib.util.find_spec(module) is not None


def find_clamd() -> str | None:
    """Debian has it where not everyone looks."""
    return shutil.which("clamd") or shutil.which("clamd", path="/usr/sbin")


@functools.cache
def _flags_of_ours() -> Sequence[str]:
    shown = subprocess.run([sys.executable, "-m", "tusd_py", "-help"], capture_output=True, text=True, check=False)
    return ("-m", *re.findall(r"^\s+(-[a-z0-9-]+)", shown.stdout + shown.stderr, re.MULTILINE))
