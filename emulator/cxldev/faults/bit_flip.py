"""Bit flip: bytes on the media change, and a checksum finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from cxldev.errors import InvalidField
from cxldev.faults.page_choice import PageChoice
from cxldev.outcomes import PageKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.arena import Arena
    from cxldev.config import DeviceConfig
    from cxldev.page_table import PageTable

_MOST_BITS: Final = 4096 * 8


@dataclass(frozen=True, slots=True)
class BitFlipFault(PageChoice):
    """Flip bits of these pages of a host as the media holds them, compressed. Done at once, not held.

    Only pages with bytes on the media have bits to flip: not same-filled ones.
    """

    kind: ClassVar[str] = "bit_flip"
    wanted: ClassVar[str] = "has bytes on the media"

    bits: int = 1
    """Of each page, 1..32768; drawn with the seed."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField or TooMany if this cannot be injected into any device of this kind."""
        PageChoice.check(self, config)
        if not 1 <= self.bits <= _MOST_BITS:
            raise InvalidField(f"bit flip of {self.bits} bits of a page: it is 1..{_MOST_BITS}")

    def eligible(self, kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which pages have bytes."""
        fit: NDArray[np.bool_] = (kinds == PageKind.COMPRESSED) | (kinds == PageKind.RAW)
        return fit

    def flip(self, table: PageTable, arena: Arena, pages: NDArray[np.int64]) -> None:
        """Flip bits of what the arena holds of these pages. No bit is flipped twice.

        In a new place: an open read may have found the old bytes good already, and hands them out from there.
        """
        draw = np.random.default_rng(self.seed)
        for page in pages.tolist():
            place, size = int(table.place[page]), int(table.size[page])
            held = np.frombuffer(bytes(arena.memory[place : place + size]), np.uint8).copy()
            bits = draw.choice(8 * size, min(self.bits, 8 * size), replace=False)
            np.bitwise_xor.at(held, bits // 8, (1 << (bits % 8)).astype(np.uint8))
            flipped = arena.take_single(size)
            arena.memory[flipped : flipped + size] = held.tobytes()
            table.place[page] = flipped
            arena.give_back_single(place, size)
