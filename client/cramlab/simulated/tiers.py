"""A tier behind the node whose stores and loads take emulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramagent.tiers import TierStore
    from cramlab.simulated.world import World


class TimedTier:
    """A tier of the agent; each page stored or loaded takes so many ns."""

    def __init__(self, tier: TierStore, world: World, *, store_ns: int, load_ns: int) -> None:
        self._tier = tier
        self._world = world
        self._store_ns = store_ns
        self._load_ns = load_ns

    @property
    def used_bytes(self) -> int:
        """What the stored pages take."""
        return self._tier.used_bytes

    @property
    def limit_bytes(self) -> int:
        """What they may take at most."""
        return self._tier.limit_bytes

    def put(self, pages: Sequence[memoryview]) -> list[int]:
        """Store pages in order, until there is no more room."""
        handles = self._tier.put(pages)
        self._world.sleep(len(handles) * self._store_ns)
        return handles

    def get(self, handle: int, into: memoryview) -> None:
        """One page's bytes. Raises KeyError."""
        self._tier.get(handle, into)
        self._world.sleep(self._load_ns)

    def drop(self, handle: int) -> None:
        """Give a handle back: only a table changes. Raises KeyError."""
        self._tier.drop(handle)

    def close(self) -> None:
        """Forget everything."""
        self._tier.close()
