"""Where the bytes of stored pages live: one flat map, cut into places of a few sizes.

A place is a multiple of 32 bytes. Freed places go on a stack of their size and are taken from there
first. The map is flat so that zstd can read straight from it, outside any lock: therefore a place
that is freed while a read is open waits in limbo until every read that began before has ended.

Pages that are few among waste move to the other half of the map, a few at a time; places are offsets in
the whole map, so a read need not know where its pages are in this. The half that was left goes back to
the system when the last read is over that may look at it, a piece at a time too.

The arena is the emulator's own economy. What a page costs on the emulated media (sectors) is the
ledger's business.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from cxldev.frames import MOST_FRAME_BYTES
from cxldev.free_places import FreePlaces
from cxldev.sparse import let_memory_go, sparse_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from cxldev.codec import Buffer

STEP: Final = 32
"""Places are multiples of this many bytes: on average half of it is lost for each page."""
CLASSES: Final = -(-MOST_FRAME_BYTES // STEP)
"""Sizes of places: 1..CLASSES steps."""
MOST_PLACE_BYTES: Final = CLASSES * STEP
SLACK_BYTES: Final = 64 << 20
"""Waste that is never worth moving pages for."""
LET_GO_BYTES: Final = 8 << 20
"""Memory that goes back to the system in one step: about a millisecond's work of it."""


class Arena:
    """Places for frames. Offsets and sizes in bytes; a size is 1..4110 and is rounded up to steps."""

    def __init__(self, live_bytes: int, batch_bytes: int) -> None:
        """Room for `live_bytes` of places in use, with as much again of waste, and one batch more."""
        self._most_live_bytes = live_bytes
        size = 2 * live_bytes + 2 * batch_bytes + SLACK_BYTES
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        """Of each half."""
        self.memory = sparse_memory(2 * self.size)
        self.base = 0
        """Where the half begins in which places are handed out."""
        self.top = 0
        """So many bytes of that half were handed out at some time."""
        self.live_bytes = 0
        """Bytes of the places in use, in that half."""
        self.left_bytes = 0
        """The same in the other one. 0: nothing is there, or nothing any more."""
        self.moving = False
        """Whether pages are on their way from the other half to this one."""
        self._batch_bytes = batch_bytes
        self._leftover: range | None = None
        """Bytes of the other half that are not back with the system."""
        self._leftover_read = 0
        """They can go when all reads before this one have ended."""
        self._free = FreePlaces(STEP, CLASSES)
        self._reads: dict[int, None] = {}
        self._next_read = 1
        self._limbo: deque[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = deque()

    # -- places ---------------------------------------------------------------------------------

    def put(self, sizes: Sequence[int], pieces: Iterable[Buffer]) -> list[int]:
        """Copy each piece of so many bytes to a place of its own: offsets, 0 where there are no bytes.

        Raises:
            MemoryError: no place is left; nothing is changed.
        """
        steps = [(size + (STEP - 1)) // STEP for size in sizes]
        total = sum(steps) * STEP
        if self.top + total > self.size:
            raise MemoryError(f"the arena of {self.size} bytes has no room for {total} more")
        places, end = self._free.pop(steps, self.base + self.top)
        self.top = end - self.base
        self.live_bytes += total
        memory = self.memory
        for place, size, piece in zip(places, sizes, pieces, strict=True):
            if size:
                memory[place : place + size] = piece
        return places

    def give_back(self, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """These places are not needed. Nobody may write to them before all open reads have ended.

        The arrays are kept until then.
        """
        if not len(places):
            return
        steps = (sizes + (STEP - 1)) // STEP
        if self.moving:
            here = self.stays(places)
            self.left_bytes -= int(steps[~here].sum()) * STEP
            places, steps = places[here], steps[here]
        self.live_bytes -= int(steps.sum()) * STEP
        if self._reads:
            self._limbo.append((self._next_read, places, steps))
        else:
            self._free.push(places, steps)

    def take_single(self, size: int) -> int:
        """A place for one page. Raises MemoryError as `put` does."""
        step = -(-size // STEP)
        width = step * STEP
        place = self._free.pop_single(step)
        if place is None:
            if self.top + width > self.size:
                raise MemoryError(f"the arena of {self.size} bytes has no room for {width} more")
            place = self.base + self.top
            self.top += width
        self.live_bytes += width
        return place

    def give_back_single(self, place: int, size: int) -> None:
        """As `give_back`, for one page."""
        if self._reads or self.moving:
            self.give_back(np.array([place], np.int64), np.array([size], np.int64))
            return
        step = -(-size // STEP)
        self._free.push_single(place, step)
        self.live_bytes -= step * STEP

    def adopt(self, top: int, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """In a new arena: so many bytes at its beginning were filled from outside.

        These places are in use; what lies between them is free, and nowhere more than the largest place.
        """
        assert not self.top
        assert top <= self.size, (top, self.size)
        steps = (sizes + (STEP - 1)) // STEP
        order = places.argsort()
        ends = (places + steps * STEP)[order]
        begins = np.append(places[order], top)
        holes = begins - np.concatenate((np.zeros(1, np.int64), ends))
        free = holes.nonzero()[0]
        self._free.push((begins - holes)[free], holes[free] // STEP)
        self.top = top
        self.live_bytes = int(steps.sum()) * STEP

    # -- reads ----------------------------------------------------------------------------------

    def begin_read(self) -> int:
        """Open a read: places in use now keep their bytes until it ends. Returns its number."""
        number = self._next_read
        self._next_read = number + 1
        self._reads[number] = None
        return number

    def end_read(self, number: int) -> None:
        """Close a read; harmless if it is closed already."""
        self._reads.pop(number, None)
        if not self._limbo:
            return
        # Numbers only grow and dicts keep their order: the first is the oldest.
        oldest = next(iter(self._reads), self._next_read)
        while self._limbo and self._limbo[0][0] <= oldest:
            _, places, steps = self._limbo.popleft()
            self._free.push(places, steps)

    # -- upkeep ---------------------------------------------------------------------------------

    @property
    def wasteful(self) -> bool:
        """Whether the pages in use should move to a new arena: their places are few among what is wasted.

        A host that gives everything up, range by range, has a seventh of it moved on the way: at an eighth,
        at an eighth of that, and so on. Waste never outgrows what the arena has room for.
        """
        waste = self.top - self.live_bytes
        return waste > min(7 * self.live_bytes, self._most_live_bytes) + SLACK_BYTES

    @property
    def untidy(self) -> bool:
        """Whether `move` or `let_go` have something to do."""
        return self.moving or self._leftover is not None

    @property
    def crammed(self) -> bool:
        """Whether one more batch might not fit: moving a few pages at a time was too slow."""
        return self.top + self._batch_bytes > self.size

    def stays(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these places lie in the half in which places are handed out."""
        stays: NDArray[np.bool_] = (places >= self.base) & (places < self.base + self.size)
        return stays

    def begin_move(self) -> None:
        """Turn to the other half. Whoever knows the places in use moves them, until `left_bytes` is 0."""
        assert not self.untidy
        self._leftover = range(self.base, self.base + -(-self.top // mmap.PAGESIZE) * mmap.PAGESIZE)
        self.left_bytes, self.live_bytes, self.top = self.live_bytes, 0, 0
        self.base = self.size - self.base
        self._free.forget()
        self._limbo.clear()
        self.moving = True

    def move(self, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Copy pages from the half that is being left: their places in this one."""
        moved = self.copy_to(self, places, sizes)
        self.left_bytes -= int(((sizes + (STEP - 1)) // STEP).sum()) * STEP
        return moved

    def end_move(self) -> None:
        """All is here. Reads that began before now may still look at the other half."""
        assert not self.left_bytes, self.left_bytes
        self.moving = False
        self._leftover_read = self._next_read

    def let_go(self) -> bool:
        """Give a piece of the half that was left back to the system. False if it must wait for reads."""
        if self.moving or self._leftover is None:
            return False
        if next(iter(self._reads), self._next_read) < self._leftover_read:
            return False
        piece = self._leftover[:LET_GO_BYTES]
        if piece:
            let_memory_go(self.memory, piece.start, len(piece))
        self._leftover = self._leftover[LET_GO_BYTES:] or None
        return True

    def copy_to(self, other: Arena, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Copy pages to another arena: their places there. Open reads go on reading here."""
        here, widths = self.memory, sizes.tolist()
        pieces = [here[place : place + size] for place, size in zip(places.tolist(), widths, strict=True)]
        return np.array(other.put(widths, pieces), np.int64)

    def idle_places(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """All places that are not in use, as offsets and sizes: for the audit."""
        for places, size in self._free:
            yield places, np.full(len(places), size, np.int64)
        for _, places, steps in self._limbo:
            yield places, steps * STEP
