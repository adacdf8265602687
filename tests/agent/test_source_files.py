"""Files and folders as sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_helpers import PAGE, noise, prose
from cramagent.sources import SourceError, Store, Synthetic, parse_source
from cramagent.sources.file import FileSource

if TYPE_CHECKING:
    from pathlib import Path

    from cramagent.sources import Source


def stored(source: Source) -> dict[int, bytes]:
    """All pages that one scan stores, by vpn."""
    pages: dict[int, bytes] = {}
    for change in source.scan():
        assert isinstance(change, Store)
        for index, vpn in enumerate(change.vpns):
            assert vpn not in pages
            pages[vpn] = bytes(change.data[index * PAGE : (index + 1) * PAGE])
    return pages


def test_a_file_is_its_pages(tmp_path: Path) -> None:
    """In order, the last one padded with zeros, many to a store."""
    content = b"".join(prose(number) for number in range(700)) + b"end"
    (tmp_path / "data").write_bytes(content)
    source = FileSource(tmp_path / "data", 10_000)
    pages = stored(source)
    assert source.pages == len(pages) == 701
    assert b"".join(pages[vpn] for vpn in range(701)) == content.ljust(701 * PAGE, b"\0")
    assert stored(source) == {}


def test_a_folder_is_its_files_one_behind_the_other(tmp_path: Path) -> None:
    """By path; links and empty files are left out."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two").write_bytes(noise(2) + b"x")
    (tmp_path / "a").write_bytes(noise(1))
    (tmp_path / "c").write_bytes(b"")
    (tmp_path / "d").symlink_to(tmp_path / "a")
    assert stored(FileSource(tmp_path, 100)) == {0: noise(1), 1: noise(2), 2: b"x".ljust(PAGE, b"\0")}


def test_pages_can_be_read_again(tmp_path: Path) -> None:
    """One by one, from any of the files; not what is not there, nor what has gone."""
    for name in "abc":
        (tmp_path / name).write_bytes(noise(ord(name)) + name.encode())
    source = FileSource(tmp_path, 100)
    assert [source.page(0, vpn) for vpn in (0, 3, 5)] == [
        noise(ord("a")),
        b"b".ljust(PAGE, b"\0"),
        b"c".ljust(PAGE, b"\0"),
    ]
    (tmp_path / "b").unlink()
    assert source.page(0, 3) is None
    assert source.page(0, 6) is None
    assert source.rewrite(0, (0,)) == Store(0, (0,), noise(ord("a")))
    (tmp_path / "new").write_bytes(noise(4))
    (tmp_path / "new").replace(tmp_path / "a")
    assert source.page(0, 0) == noise(4), "another file of that name"
    source.close()


def test_many_pages_are_read_at_once(tmp_path: Path) -> None:
    """In the order in which they are asked for, across files, without those that are not there."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"".join(noise(ord(name) + place) for place in range(3)) + b"x")
    source = FileSource(tmp_path, 100)
    (tmp_path / "b").unlink()
    found = source.rewrite(0, (11, 2, 3, 4, 5, 8, 9, 10, 12, 0))
    assert found is not None
    assert found.vpns == (11, 2, 3, 8, 9, 10, 0)
    pages = [source.page(0, vpn) for vpn in found.vpns]
    assert found.data == b"".join([page or b"" for page in pages])
    assert pages[0] == b"x".ljust(PAGE, b"\0")
    (tmp_path / "a").write_bytes(noise(1) + b"y")
    shrunk = source.rewrite(0, (0, 1, 2, 3))
    assert shrunk == Store(0, (0, 1), noise(1) + b"y".ljust(PAGE, b"\0"))
    source.close()


def test_only_so_many_pages_are_taken(tmp_path: Path) -> None:
    """The rest is counted."""
    (tmp_path / "a").write_bytes(bytes(5 * PAGE))
    (tmp_path / "b").write_bytes(bytes(5 * PAGE))
    source = FileSource(tmp_path, 7)
    assert sorted(stored(source)) == list(range(7))
    assert source.pages_left_out == 3
    assert source.page(0, 7) is None


def test_a_killed_space_is_stored_again(tmp_path: Path) -> None:
    """All of it, by the next scan."""
    (tmp_path / "a").write_bytes(noise(1))
    source = FileSource(tmp_path, 7)
    assert stored(source) == {0: noise(1)}
    source.killed(0)
    assert stored(source) == {0: noise(1)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file:{}/nothing", "cannot be read: No such file"),
        ("file:{}", "holds no bytes"),
        ("core:{}/nothing", "cannot be read: No such file"),
        ("core:{}", "cannot be read: Is a directory"),
        ("pid:x", "is not a source: write pid:1234"),
        ("file:", "is not a source"),
        ("synthetic:7", "is not a source"),
        ("", "is not a source"),
        ("pid:4194305", "no process 4194305"),
    ],
)
def test_what_is_no_source_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    """Each says what is wrong."""
    with pytest.raises(SourceError, match=why) as refused:
        parse_source(text.format(tmp_path), max_pages=10, synthetic=Synthetic())
    assert "\n" not in str(refused.value)
