"""Files that others wait for or read while we write: they appear whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file all at once: a reader sees the whole of it or none.

    What is no regular file (/dev/null, /dev/stdout, a pipe) is written to where it is, and not replaced.

    Raises:
        OSError: it cannot be written; what was there before is as it was. Its `filename` is this path.
    """
    try:
        if _is_file(path):
            _replace(path, text)
        else:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        # A full disk is found out by a write, and that knows no name.
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_file(path: Path) -> None:
    """Remove a regular file, if there is one.

    Raises:
        OSError: it cannot be removed.
    """
    if _is_file(path):
        path.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise


def _is_file(path: Path) -> bool:
    """Whether a regular file is there, or nothing yet; a folder fails either way. A link is none."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) or path.is_dir()
    except FileNotFoundError:
        return True
