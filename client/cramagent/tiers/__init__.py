"""What lies behind the node: tiers that really store the bytes that they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class TierStore(Protocol):
    """One tier. Handles are numbers of 0 and up; a handle stands for one stored page of 4096 bytes."""

    @property
    def used_bytes(self) -> int:
        """What the stored pages take, bytes."""
        ...

    @property
    def limit_bytes(self) -> int:
        """What they may take at most, bytes."""
        ...

    def put(self, pages: Sequence[memoryview]) -> list[int]:
        """Store pages in order; a handle for each of the first ones, until there is no more room."""
        ...

    def get(self, handle: int, into: memoryview) -> None:
        """The page's bytes; the tier keeps its copy.

        Raises:
            KeyError: no such handle.
        """
        ...

    def drop(self, handle: int) -> None:
        """Give a handle back; its number may be used again.

        Raises:
            KeyError: no such handle.
        """
        ...

    def close(self) -> None:
        """Forget everything."""
        ...
