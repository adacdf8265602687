"""Files that are written all at once."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from cramwire.whole_file import remove_file, write_whole

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """What is no regular file; anybody may make one."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def is_pipe(path: Path) -> bool:
    """Whether the pipe is still one."""
    return stat.S_ISFIFO(path.lstat().st_mode)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    """It is written beside and moved into place."""
    path = tmp_path / "report.json"
    write_whole(path, "one\n")
    write_whole(path, "two\n")
    assert path.read_text() == "two\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_moved_into_place_leaves_nothing(tmp_path: Path) -> None:
    """A folder has its name: what was written beside it goes again."""
    path = tmp_path / "report.json"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(OSError, match=r"report\.json"):
        write_whole(path, "text")
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_written_to_and_stays(pipe: Path) -> None:
    """/dev/null, /dev/stdout and pipes are not replaced: root's /dev/null would be gone for everybody."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert is_pipe(pipe)


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    """As the shell's `>` does."""
    (tmp_path / "target").write_text("old and longer")
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_only_files_are_removed(pipe: Path, tmp_path: Path) -> None:
    """The ready file of an earlier run goes; a pipe or a device stays; what is not there is no error."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "nothing", pipe):
        remove_file(path)
    assert list(tmp_path.iterdir()) == [pipe]
    assert is_pipe(pipe)
