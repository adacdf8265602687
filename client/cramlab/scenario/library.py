"""The scenarios that are shipped, and how they are found: by name, or any file by its path."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PLACES: Final = (
    Path(__file__).parents[1] / "scenarios",
    Path(__file__).parents[3] / "deploy" / "scenarios",
)
"""In a wheel, and in a checkout."""


def library() -> Path:
    """The folder of the shipped scenarios."""
    return next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def shipped() -> list[Path]:
    """Their files, by name."""
    return sorted(library().glob("*.toml"))


def find(name: str) -> Path:
    """A file by its path, or a shipped scenario by its name.

    Raises:
        FileNotFoundError: neither; the message tells the names.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = {file.stem: file for file in shipped()}
    if name in known:
        return known[name]
    raise FileNotFoundError(f"there is no file {name}, and no scenario of that name: {', '.join(known)}")
