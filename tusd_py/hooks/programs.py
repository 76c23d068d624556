"""Hooks as programs: a directory in which every event may have one of its name, as with tusd."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from tusd_py.core.go_values import format_duration
from tusd_py.core.hook_events import HookAnswer, HookCall, HookFailure
from tusd_py.core.hook_json import decode_answer, encode_call
from tusd_py.hooks.running import converse

_LONGEST_OUTPUT = 1024 * 1024
_OURS = ("TUSD_PY_", "PROMETHEUS_MULTIPROC_DIR")
"""What variables of ours begin with: flags, which are nobody's business, and what others take to be theirs."""


class ProgramsBackend:
    """Runs `directory/<event>` with the event on its input; what it prints, at most `size_limit` bytes, is its answer.

    A program that is not there, or whose interpreter is not, counts as no hook. `timeout` is in seconds, 0 and less
    mean none: then, and when the caller is cancelled, the program and all that it started are killed. What a program
    leaves running when it ends by itself runs on.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        timeout: float,
        size_limit: int = _LONGEST_OUTPUT,
        name: str = "programs",
    ) -> None:
        self.name = name
        self._directory = Path(directory).absolute()
        self._timeout = timeout if timeout > 0 else None
        self._size_limit = size_limit

    async def call(self, call: HookCall) -> HookAnswer:
        try:
            process = self._start(call)
        except FileNotFoundError:
            return HookAnswer()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise HookFailure(f"hook program {call.event.value} cannot be run: {reason or error}") from error
        try:
            async with asyncio.timeout(self._timeout):
                output = await converse(process, encode_call(call), self._size_limit)
        except TimeoutError:
            limit = format_duration(self._timeout or 0.0)
            raise HookFailure(f"hook program {call.event.value} did not end within {limit}") from None
        if len(output) > self._size_limit:
            raise HookFailure(f"hook response exceeded maximum size of {self._size_limit} bytes")
        return _answer(process.returncode, output)

    async def close(self) -> None:
        """Nothing is kept between two calls."""

    def _start(self, call: HookCall) -> subprocess.Popen[bytes]:
        """Not by way of the loop: uvloop hands on descriptors of ours, and sockets where programs expect pipes.

        Starting takes about a millisecond, in which the interpreter does nothing else in any thread.
        """
        return subprocess.Popen(  # noqa: S603 -- the programs are the operator's
            [self._directory / call.event.value],
            cwd=self._directory,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
                "TUS_ID": call.upload.id,
                "TUS_SIZE": str(call.upload.size or 0),
                "TUS_OFFSET": str(call.upload.offset),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )


def _answer(exit_code: int, output: bytes) -> HookAnswer:
    """The answer, if it is one: these are tusd's checks and words."""
    text = output.decode("utf-8", "replace")
    if exit_code != 0:
        raise HookFailure(f"unexpected return code {max(exit_code, -1)} from hook endpoint: {text}")
    try:
        return decode_answer(output) if output else HookAnswer()
    except HookFailure as error:
        raise HookFailure(f"{error}, response was: {text}", was_received=True) from error
