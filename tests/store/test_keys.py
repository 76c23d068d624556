import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tusd_py.store.directories import prepare_directories
from tusd_py.store.keys import UnusableKeys, load_or_create_signing_keys, read_keys
from tusd_py.store.workspace import Workspace

OLD_KEY, KEY = b"0123456789abcdef" * 2, b"!~" * 32

LOAD = """
import sys
from pathlib import Path
from tusd_py.store.keys import load_or_create_signing_keys
print("ready", flush=True)
sys.stdin.readline()
print(load_or_create_signing_keys(Path(sys.argv[1])))
"""

DIE_BEFORE_THE_LINK = """
import os, sys
from pathlib import Path
from tusd_py.store.keys import load_or_create_signing_keys
os.link = lambda *_: os._exit(9)
load_or_create_signing_keys(Path(sys.argv[1]))
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory as it is at start."""
    prepare_directories(tmp_path, tmp_path / ".tusd-py", 0o775)
    return tmp_path / ".tusd-py"


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "some.keys"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(UnusableKeys) as caught:
        read_keys(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- reading ---


@pytest.mark.parametrize(
    "content",
    [
        OLD_KEY + b"\n" + KEY + b"\n",
        OLD_KEY + b"\n" + KEY,
        b"# old\n" + OLD_KEY + b"\n\n  \n  # new\n" + KEY + b"\n\n",
        OLD_KEY + b"\r\n" + KEY + b"\r\n",
        b"\t" + OLD_KEY + b" \n " + KEY,
    ],
)
def test_keys_are_lines_in_their_order_but_for_blank_ones_and_comments(tmp_path: Path, content: bytes) -> None:
    assert read_keys(key_file(tmp_path, content)) == (OLD_KEY, KEY)


def test_a_key_may_have_a_number_sign_within(tmp_path: Path) -> None:
    assert read_keys(key_file(tmp_path, OLD_KEY + b"#1\n")) == (OLD_KEY + b"#1",)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert read_keys(key_file(tmp_path, KEY, mode)) == (KEY,)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    assert f"mode {mode:o}" in complaint(key_file(tmp_path, KEY, mode))


def test_a_link_is_judged_by_the_file_that_it_leads_to(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to(key_file(tmp_path, KEY, 0o644))
    assert "mode 644" in complaint(path)
    path.resolve().chmod(0o600)
    assert read_keys(path) == (KEY,)


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t\r\n", b"# " + KEY])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "no key" in complaint(key_file(tmp_path, content))


def test_a_short_key_is_refused_beside_a_long_one(tmp_path: Path) -> None:
    assert "line 3" in complaint(key_file(tmp_path, KEY + b"\n\n" + b"k" * 31 + b"\n"))
    assert read_keys(key_file(tmp_path, b"k" * 32)) == (b"k" * 32,)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf# a comment after a byte order mark, which is not one",
        b"correct horse battery staple, for the fourth time",
        b"\x00" * 32,
        bytes(range(128, 192)),
    ],
    ids=["byte order mark", "blanks", "zeros", "binary"],
)
def test_what_could_not_be_pasted_is_no_key(tmp_path: Path, content: bytes) -> None:
    assert "line 1" in complaint(key_file(tmp_path, content))


def test_what_is_not_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "missing")
    assert "regular file" in complaint(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "regular file" in complaint(tmp_path / "pipe")


def test_a_complaint_never_holds_a_key(tmp_path: Path) -> None:
    secret = b"s3cret-and-too-short"
    for content, mode in ((secret, 0o600), (KEY + b"\n" + secret, 0o600), (secret + b" x" * 20, 0o600), (KEY, 0o644)):
        said = complaint(key_file(tmp_path, content, mode))
        assert secret.decode() not in said
        assert KEY.decode() not in said


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    read_keys(key_file(tmp_path, KEY))
    complaint(key_file(tmp_path, KEY, 0o644))
    complaint(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


# --- the generated file ---


def test_the_first_start_makes_a_key_and_later_ones_find_it(state: Path) -> None:
    made = load_or_create_signing_keys(state)
    assert load_or_create_signing_keys(state) == made == read_keys(state / "signing.keys")
    assert [bool(re.fullmatch(rb"[0-9a-f]{64}", key)) for key in made] == [True]
    assert list((state / "workspace").iterdir()) == []


def test_another_directory_has_another_key(state: Path, tmp_path: Path) -> None:
    prepare_directories(tmp_path / "other", tmp_path / "other" / ".tusd-py", 0o775)
    assert load_or_create_signing_keys(tmp_path / "other" / ".tusd-py") != load_or_create_signing_keys(state)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_can_read_it_whatever_the_umask(state: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        load_or_create_signing_keys(state)
    finally:
        os.umask(before)
    assert stat.S_IMODE((state / "signing.keys").stat().st_mode) == 0o600


def test_a_key_that_was_added_is_the_newest(state: Path) -> None:
    made = load_or_create_signing_keys(state)
    with (state / "signing.keys").open("ab") as file:
        file.write(KEY + b"\n")
    assert load_or_create_signing_keys(state) == (*made, KEY)


@pytest.mark.parametrize(("content", "mode"), [(b"", 0o600), (b"short\n", 0o600), (KEY, 0o644)])
def test_a_file_that_cannot_be_used_is_said_and_not_replaced(state: Path, content: bytes, mode: int) -> None:
    path = state / "signing.keys"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UnusableKeys, match=re.escape(str(path))):
        load_or_create_signing_keys(state)
    assert path.read_bytes() == content


def test_a_link_that_leads_nowhere_is_said(state: Path) -> None:
    (state / "signing.keys").symlink_to(state / "not-mounted-yet")
    with pytest.raises(UnusableKeys, match="No such file"):
        load_or_create_signing_keys(state)


def test_a_directory_where_nothing_can_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnusableKeys, match="cannot be made: No such file"):
        load_or_create_signing_keys(tmp_path / "missing")


def test_processes_that_start_at_once_agree(state: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(state)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=20)[0] for process in processes}
    assert answers == {f"{read_keys(state / 'signing.keys')}\n"}
    assert [process.returncode for process in processes] == [0] * 8
    assert list((state / "workspace").iterdir()) == []


def test_who_comes_second_takes_the_key_of_the_first(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_or_create_signing_keys(state)
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    assert load_or_create_signing_keys(state) == first
    assert list((state / "workspace").iterdir()) == []


def test_a_process_that_was_killed_before_the_link_leaves_only_what_the_sweep_removes(state: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIE_BEFORE_THE_LINK, str(state)], check=False).returncode == 9
    assert not (state / "signing.keys").exists()
    [leftover] = (state / "workspace").iterdir()
    assert stat.S_IMODE(leftover.stat().st_mode) == 0o600
    swept: list[str] = []
    Workspace(state / "workspace", 0o600).sweep(lambda upload_id, _: swept.append(upload_id))
    assert swept == []
    assert list((state / "workspace").iterdir()) == []
    made = load_or_create_signing_keys(state)
    assert made[0] not in leftover.name.encode()


def test_the_file_and_its_name_are_durable_before_a_key_is_used(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    link, fsync = os.link, os.fsync

    def noted_link(source: Path, target: Path) -> None:
        link(source, target)
        done.append("link")

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name)

    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    load_or_create_signing_keys(state)
    assert done == ["workspace", "link", state.parent.name]
