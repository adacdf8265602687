"""What is wrong with a scenario file: said once, with the line where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ScenarioError(Exception):
    """A scenario that cannot be run. The message is `FILE:LINE: what, and what to write instead`."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path = path
        self.line = line
