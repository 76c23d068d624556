from pathlib import Path

import pytest

from tusd_py.store.mounts import is_in_memory, is_local


def mounts(tmp_path: Path, *lines: tuple[Path | str, str]) -> Path:
    """A list of mount points and types as the kernel shows it, below a local root."""
    rows = ["22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw"]
    for number, (point, kind) in enumerate(lines):
        escaped = str(point).replace(" ", "\\040")
        rows.append(f"{30 + number} 22 0:{30 + number} /sub {escaped} rw,noatime master:2 - {kind} some where rw")
    file = tmp_path / "mountinfo"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_a_directory_is_as_local_as_the_file_system_that_it_is_on(tmp_path: Path) -> None:
    data = tmp_path / "some data"
    data.mkdir()
    assert is_local(data, mounts(tmp_path))
    assert is_local(data, mounts(tmp_path, (data, "xfs")))
    assert is_local(data, mounts(tmp_path, (tmp_path, "nfs4"), (data, "xfs")))
    assert not is_local(data, mounts(tmp_path, (tmp_path, "nfs4")))
    assert not is_local(data, mounts(tmp_path, (data, "fuse.sshfs")))


def test_of_several_file_systems_on_one_place_the_last_counts(tmp_path: Path) -> None:
    assert not is_local(tmp_path, mounts(tmp_path, (tmp_path, "xfs"), (tmp_path, "cifs")))
    assert is_local(tmp_path, mounts(tmp_path, (tmp_path, "cifs"), (tmp_path, "xfs")))


def test_a_directory_with_a_share_of_the_network_in_it_is_not_local(tmp_path: Path) -> None:
    assert not is_local(tmp_path, mounts(tmp_path, (tmp_path / "project", "nfs")))
    assert is_local(tmp_path, mounts(tmp_path, (tmp_path.with_name(tmp_path.name + "-other"), "nfs")))


def test_a_link_is_followed_to_where_the_files_are(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "share")
    assert not is_local(tmp_path / "data", mounts(tmp_path, (tmp_path / "share", "nfs")))


def test_a_directory_is_in_memory_only_with_all_that_is_in_it(tmp_path: Path) -> None:
    assert is_in_memory(tmp_path, mounts(tmp_path, (tmp_path, "tmpfs")))
    assert not is_in_memory(tmp_path, mounts(tmp_path))
    assert not is_in_memory(tmp_path, mounts(tmp_path, (tmp_path, "tmpfs"), (tmp_path / "data", "ext4")))


@pytest.mark.parametrize("text", ["", "not a list of mounts\n"])
def test_a_system_that_does_not_say_what_is_mounted_has_nothing_local(tmp_path: Path, text: str) -> None:
    (tmp_path / "mountinfo").write_text(text)
    assert not is_local(tmp_path, tmp_path / "mountinfo")
    assert not is_local(tmp_path, tmp_path / "absent")
    assert not is_in_memory(tmp_path, tmp_path / "mountinfo")
