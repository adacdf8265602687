"""What a source says to the runner: what happened to its address spaces, in order.

Spaces are the source's own numbers; 0 is there from the start. Pages are named by virtual page
number (vpn). All data is whole pages of 4096 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAIN_SPACE: Final = 0
STORE_PAGES: Final = 256
"""Most pages in one `Store`: the runner handles events between them."""


class SourceError(Exception):
    """A source cannot be opened or read; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class Store:
    """Page i of `data` was stored at `vpns[i]`."""

    space: int
    vpns: tuple[int, ...]
    data: bytes | memoryview
    digests: tuple[int, ...] = ()
    """Their hashes, where the source has them already."""


@dataclass(frozen=True, slots=True)
class Free:
    """These pages went away. Unnoticed: without the host being told, as at the kernel's missed hooks."""

    space: int
    vpns: tuple[int, ...]
    noticed: bool = True


@dataclass(frozen=True, slots=True)
class Fork:
    """`child` is a copy of `parent`, page by page on write."""

    parent: int
    child: int


@dataclass(frozen=True, slots=True)
class Exit:
    """The space ended, with all its pages."""

    space: int
    noticed: bool = True


Change: TypeAlias = Store | Free | Fork | Exit


class Source(Protocol):
    """One source, opened. Not shared by threads."""

    @property
    def pages(self) -> int:
        """Pages that it had when it was opened, for sizes that are given as a share of it."""
        ...

    @property
    def pages_left_out(self) -> int:
        """Pages that the last scan left out for want of `--max-pages`."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it is gone (a process that exited): nothing new will come."""
        ...

    def scan(self) -> Iterator[Change | None]:
        """What changed since the last scan; the first one stores every page.

        A None says only that the scan goes on: the runner can look after other things.
        """
        ...

    def page(self, space: int, vpn: int) -> bytes | None:
        """The bytes that this page has now, 4096 of them; None: it has no such page any more."""
        ...

    def rewrite(self, space: int, vpns: Sequence[int]) -> Store | None:
        """What stores drawn by the access pattern put at these pages. Those that are no more are left out.

        None: none is there, or stores are not drawn here.
        """
        ...

    def killed(self, space: int) -> None:
        """The host killed this space: its program begins anew, as the next scan will tell."""
        ...

    def close(self) -> None:
        """Let go of what it holds open."""
        ...
