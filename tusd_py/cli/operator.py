"""Who reads the terminal."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import TextIO

_STANDARD_ERROR = 2


def occupy_standard_descriptors() -> None:
    """Open `/dev/null` for those of standard input, output and error that are closed, as every Go program does.

    Else a socket or an upload has their numbers: what some library writes to standard error goes into it, and libuv
    aborts the process when it is to close one of them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(descriptor, True)  # as those are that were open
    os.close(descriptor)


def give_up_unsaid() -> None:
    """What could not be written until the end never will be; Python would try, and end with a status of its own."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_line(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        os._exit(1)  # nobody reads what we say; a Go program ends here, too
    except OSError:
        pass  # a full disk under the log is no reason to stop, or not to


class Operator:
    """Configuration lines can be switched off; all lines become JSON with the log."""

    def __init__(self, *, is_json: bool, is_shown: bool) -> None:
        self._is_json = is_json
        self._is_shown = is_shown

    def announce(self, line: str) -> None:
        if self._is_shown:
            self.say(line)

    def say(self, line: str) -> None:
        print_line(self._written(line), sys.stdout)

    def warn(self, line: str) -> None:
        """What is wrong, or can hardly be meant; beside the lines that programs read."""
        print_line(self._written(line), sys.stdout if self._is_json else sys.stderr)

    def _written(self, line: str) -> str:
        now = datetime.now().astimezone()
        if self._is_json:
            return json.dumps({"time": now.isoformat(), "level": "INFO", "msg": line}, ensure_ascii=False)
        return f"{now:%Y/%m/%d %H:%M:%S.%f} {line}"
