"""DRAM: the frames that address spaces may use, and the clock hand that finds cold ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy.answers import Access, AccessKind, Backend
from cramagent.policy.folio import PageKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cramagent.policy.counters import HostCounters
    from cramagent.policy.folio import Folio
    from cramagent.policy.settings import PolicySettings

# An enum's members are looked up by its metaclass at every use: too slow for a loop.
_ANON: Final = PageKind.ANON
_DRAM: Final = Backend.DRAM


class _Answers(dict[int, Access]):
    """The answer of each frame, made when it is asked for the first time, then kept."""

    def __missing__(self, frame: int) -> Access:
        answer = self[frame] = Access(AccessKind.DRAM, frame)
        return answer


class Frames:
    """Frame table, free list and clock (second chance) over frames 0 .. count-1.

    The last `settings.bounce_pages` frames of DRAM are kept out of it: writeback moves device pages
    to the tiers through them, so it never needs memory in order to free some.
    """

    def __init__(self, settings: PolicySettings, counters: HostCounters) -> None:
        self.count = settings.dram_pages - settings.bounce_pages
        self.bounce = tuple(range(self.count, settings.dram_pages))
        self.table: list[Folio | None] = [None] * self.count
        self._free = list(range(self.count - 1, -1, -1))
        self.answers: dict[int, Access] = _Answers()
        """What an access to a page is answered, by its frame."""
        self._hand = 0
        self._counters = counters
        self.low = max(1, self.count * settings.low_watermark_milli // 1000)
        self._high = max(self.low + 1, self.count * settings.high_watermark_milli // 1000)
        self._boost = self.count * settings.watermark_boost_milli // 1000

    @property
    def free(self) -> int:
        """Frames that nobody holds."""
        return len(self._free)

    def high(self, pressure: int) -> int:
        """Free frames at which kswapd rests; the boost grows with pressure (0..1000).

        Never more than half: a boost must not evict a small machine's every page.
        """
        return min(self._high + self._boost * pressure // 1000, max(self.low + 1, self.count // 2))

    def take(self) -> int | None:
        """A free frame, to be given to a folio (`place`) or back (`release`)."""
        return self._free.pop() if self._free else None

    def take_many(self, count: int) -> list[int]:
        """So many free frames; there must be as many."""
        free = self._free
        assert count <= len(free), (count, len(free))
        taken = free[len(free) - count :]
        del free[len(free) - count :]
        return taken

    def place(self, folio: Folio, frame: int) -> None:
        """The frame's bytes are this folio's from now on."""
        self.table[frame] = folio

    def settle(self, folios: Sequence[Folio], frames: Sequence[int]) -> None:
        """The bytes of each folio are now in its frame."""
        table = self.table
        for folio, frame in zip(folios, frames, strict=True):
            folio.backend = _DRAM
            folio.handle = frame
            folio.ahead = False
            table[frame] = folio

    def release(self, frame: int) -> None:
        """Nobody holds this frame any more."""
        self.table[frame] = None
        self._free.append(frame)

    def release_many(self, frames: Iterable[int]) -> None:
        """Nobody holds these frames any more."""
        table, free = self.table, self._free
        for frame in frames:
            table[frame] = None
            free.append(frame)

    def isolate(self, want: int, scan: int, *, second_chance: bool) -> list[Folio]:
        """Up to `want` cold folios from the next `scan` frames; each is marked in flight.

        The hand passes over folios in flight, those that may never leave DRAM (file and kernel pages),
        and with `second_chance` referenced ones, whose accessed bit it clears. The caller takes the
        in-flight marks off again.
        """
        found: list[Folio] = []
        table, size, hand = self.table, self.count, self._hand
        chances = 0
        for _ in range(min(scan, size)):
            folio = table[hand]
            hand += 1
            if hand == size:
                hand = 0
            if folio is None or folio.in_flight or folio.kind is not _ANON:
                continue
            if folio.referenced and second_chance:
                folio.referenced = False
                chances += 1
                continue
            folio.in_flight = True
            folio.referenced = False
            found.append(folio)
            if len(found) == want:
                break
        self._hand = hand
        self._counters.second_chances += chances
        return found
