"""`tusd-py`: read the flags, and run what they ask for."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tusd_py.cli.file_commands import COMMANDS, Refused, run_file_command, usage_of_commands
from tusd_py.cli.flags import FlagError, HelpWanted, parse_flags, usage
from tusd_py.cli.operator import Operator, give_up_unsaid, occupy_standard_descriptors, print_line
from tusd_py.cli.serving import Fatal, run_server, run_worker
from tusd_py.cli.table import FLAGS
from tusd_py.core.errors import UploadError
from tusd_py.server.worker import take_assignment
from tusd_py.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; the exit status is tusd's: 0 after a stop, 1 if it cannot run, 2 for a bad command line."""
    occupy_standard_descriptors()
    atexit.register(give_up_unsaid)
    assignment = take_assignment(os.environ)
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words.pop(0) if words and words[0] in COMMANDS else ""
    help_text = usage_of_commands(command) if command else f"{usage('tusd-py')}\n\n{usage_of_commands(*COMMANDS)}"
    try:
        command_line = parse_flags(words, os.environ, subject_count=1 if command else 0)
    except HelpWanted:
        print_line(help_text, sys.stderr)
        return 0
    except FlagError as error:
        print_line(f"{error}\n{help_text}", sys.stderr)
        return 2
    if command_line.ignored and assignment is None:
        print_line(f"ignored: {' '.join(command_line.ignored)}", sys.stderr)
    flags = {name.replace("-", "_"): value for name, value in command_line.values.items()}
    if flags["network_timeout"] <= 0:
        flags["network_timeout"] = FLAGS["network-timeout"].default
    if flags["version"]:
        print_line(f"Version: {__version__}\nCommit: n/a\nDate: n/a", sys.stdout)
        return 0
    operator = Operator(is_json=flags["log_format"] == "json", is_shown=flags["show_startup_logs"])
    try:
        if command:
            return _run_file_command(command, command_line.subjects, flags, operator)
        if assignment is not None:
            return run_worker(flags, assignment)
        return run_server(flags, operator, command=[sys.executable, *sys.orig_argv[1:]])
    except Fatal as error:
        operator.warn(str(error))
        return 1


def _run_file_command(command: str, file_ids: Sequence[str], flags: Mapping[str, Any], operator: Operator) -> int:
    if not file_ids:
        raise Fatal(f"tusd-py {command} needs the id of a file")
    try:
        operator.say(run_file_command(command, file_ids[0], flags))
    except (Refused, UploadError) as error:
        raise Fatal(f"tusd-py {command} {file_ids[0]}: {error}") from error
    return 0
