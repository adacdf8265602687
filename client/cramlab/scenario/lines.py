"""On which line of a TOML file each table and key stands: `tomllib` does not tell.

The file is cut into statements (a header, or a key with its value, maybe over several lines): the
fewest lines that `tomllib` takes on their own. Each is parsed by itself for the keys that it names.
"""

from __future__ import annotations

import tomllib
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys from the root; an index after the name of an array of tables."""


def line_index(text: str) -> dict[Path, int]:
    """Line, from 1, of every table and key of a file that `tomllib` takes as a whole."""
    found: dict[Path, int] = {(): 1}
    arrays: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _header(parsed, arrays)
            for end in range(1, len(table) + 1):
                found.setdefault(table[:end], number)
        else:
            _keys(parsed, table, number, found)
    return found


def _statements(text: str) -> list[tuple[int, str]]:
    statements: list[tuple[int, str]] = []
    lines = text.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        end = at + 1
        while not _whole("".join(lines[at:end])) and end < len(lines):
            end += 1
        statement = "".join(lines[at:end])
        if statement.strip() and not statement.lstrip().startswith("#"):
            statements.append((at + 1, statement))
        at = end
    return statements


def _whole(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _header(parsed: dict[str, Any], arrays: dict[Path, int]) -> Path:
    """The table that a header opens: `[a.b]` or `[[a]]`, whose tables are counted."""
    path: Path = ()
    here: Any = parsed
    while here:
        if isinstance(here, list):
            arrays[path] = arrays.get(path, -1) + 1
            path = (*path, arrays[path])
            here = here[0]
            continue
        ((key, here),) = here.items()
        path = (*path, key)
        if isinstance(here, dict) and path in arrays:
            # [a.b] after [[a]] is of the newest a.
            path = (*path, arrays[path])
    return path


def _keys(parsed: dict[str, Any], table: Path, line: int, found: dict[Path, int]) -> None:
    for key, value in parsed.items():
        path = (*table, key)
        found.setdefault(path, line)
        if isinstance(value, dict):
            _keys(value, path, line, found)
