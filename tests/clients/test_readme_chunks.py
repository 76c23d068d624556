"""The README's upload in numbered chunks with curl and sha256sum, pasted into a shell as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.running import Server, ServerStarter

ROOT = Path(__file__).parents[2]
ADDRESS = "http://localhost:8080"
"""The server in the README."""


def blocks(language: str) -> list[str]:
    """The code blocks of the section."""
    section = (ROOT / "README.md").read_text().partition("\n## Uploads in numbered chunks\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def run(server: Server, directory: Path, *scripts: str) -> str:
    """What the scripts print in one shell, with this server in the place of the README's."""
    script = "\n".join(scripts).replace(ADDRESS, f"http://127.0.0.1:{server.port}")
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.replace(f"http://127.0.0.1:{server.port}", ADDRESS)


def without_ids(output: str) -> str:
    """The output with one id in the place of each, since those are never the same, and without times and signatures.

    The file may be ready already when it is first told of.
    """
    ids: dict[str, str] = {}
    output = output.replace('"status":"ready"', '"status":"processing"')
    output = re.sub(r"expires=\d+&sig=[\w-]+", "expires=…&sig=…", output)
    return re.sub(r"\b(f_)?[0-9a-f]{32}\b", lambda match: ids.setdefault(match[0], f"id {len(ids)}"), output)


def test_the_commands_upload_a_file_and_print_what_the_readme_says(server: Server, tmp_path: Path) -> None:
    *shell, client = blocks("sh")
    [said] = blocks("text")
    assert "chunked_upload" in client
    assert without_ids(run(server, tmp_path, *shell)) == without_ids(said)


def test_the_block_that_sends_goes_on_after_the_server_was_killed(start: ServerStarter, tmp_path: Path) -> None:
    announce, send, complete, _client = blocks("sh")
    server = start()
    answer = run(server, tmp_path, announce)
    remembered = f"api={ADDRESS}/api; answer='{answer.strip()}'"
    only_two = send.replace("  echo\n", '  echo; [ "$n" != 1 ] || break\n')
    assert run(server, tmp_path, remembered, only_two).count("chunk_received") == 2
    server.kill()
    server = start(upload_dir=server.upload_dir)
    assert run(server, tmp_path, remembered, send).count("chunk_received") == 1
    assert run(server, tmp_path, remembered, send, complete).endswith("\nThe same file.\n")


def test_the_command_of_the_example_client_works(server: Server, tmp_path: Path) -> None:
    announce, *_, client = blocks("sh")
    run(server, tmp_path, announce)
    assert client.startswith("python -m ")
    from_checkout = f'export PYTHONPATH={shlex.quote(str(ROOT))}; python() {{ {sys.executable} "$@" 2>progress; }}'
    assert '"status": "ready"' in run(server, tmp_path, from_checkout, client)
