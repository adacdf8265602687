"""Who is shown a run while it goes on; both engines tell it the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cramlab.scenario.measurements import Measurements


class Watcher(Protocol):
    """Called from the thread that runs the scenario; times are ns since time zero."""

    def filling(self, stored: int, hosts: int) -> None:
        """Before time zero: so many of the hosts have stored all their pages once."""
        ...

    def sampled(self, at_ns: int, measured: Measurements) -> None:
        """There are new samples."""
        ...

    def said(self, at_ns: int, text: str) -> None:
        """A step was done, or something happened: one line for people."""
        ...


class Unwatched:
    """Nobody looks."""

    def filling(self, stored: int, hosts: int) -> None:
        """Nothing to show."""

    def sampled(self, at_ns: int, measured: Measurements) -> None:
        """Nothing to show."""

    def said(self, at_ns: int, text: str) -> None:
        """Nothing to say."""
