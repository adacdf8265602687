"""Where pages come from: a live process, an ELF core, files, or a seeded generator.

`parse_source` reads what `--source` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cramagent.sources.changes import Change, Exit, Fork, Free, Source, SourceError, Store
from cramagent.sources.core import CoreSource
from cramagent.sources.file import FileSource
from cramagent.sources.pid import PidSource
from cramagent.sources.synthetic import Synthetic, SyntheticSource

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Change",
    "Exit",
    "Fork",
    "Free",
    "Source",
    "SourceError",
    "Store",
    "Synthetic",
    "parse_source",
]


def parse_source(text: str, *, max_pages: int, synthetic: Synthetic) -> Source:
    """The source that `text` names: `pid:N`, `core:FILE`, `file:PATH` or `synthetic`, opened.

    Args:
        text: what `--source` says.
        max_pages: pages beyond these are left out (the source counts them).
        synthetic: the dials of the seeded generator; `seed` and `unnoticed` are those of pid, too.

    Raises:
        SourceError: no such source, or it cannot be read.
    """
    kind, _, where = text.partition(":")
    if text == "synthetic":
        return SyntheticSource(synthetic)
    if kind == "pid" and where.isdecimal():
        return PidSource(int(where), max_pages, unnoticed=synthetic.unnoticed, seed=synthetic.seed)
    from_path: dict[str, Callable[[Path, int], Source]] = {"core": CoreSource, "file": FileSource}
    if kind in from_path and where:
        try:
            return from_path[kind](Path(where), max_pages)
        except OSError as error:
            raise SourceError(f"{where} cannot be read: {error.strerror or error}") from error
    raise SourceError(f"{text!r} is not a source: write pid:1234, core:FILE, file:PATH or synthetic")
