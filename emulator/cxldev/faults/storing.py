"""What lies between the pages of one write and the media."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.faults.layer import Layer
    from cxldev.faults.scope import Command


class Storing:
    """The layers that one write meets, innermost first. Without any, pages take what they take."""

    def __init__(self, layers: tuple[Layer, ...], command: Command | None) -> None:
        self._layers = layers
        self._command = command
        self._changed: list[NDArray[np.bool_]] = []
        """By each layer: which pages take other sectors for it."""

    def sectors_for(self, sectors: NDArray[np.int64], sector_bytes: int) -> NDArray[np.int64]:
        """Sectors that pages take, one entry a page. They may be refused yet."""
        for layer in self._layers:
            assert self._command is not None
            before, sectors = sectors, layer.sectors_for(self._command, sectors, sector_bytes)
            self._changed.append(sectors != before)
        return sectors

    def writable(self, pages: int) -> int:
        """Of so many pages, those from the front that the media takes."""
        for layer in self._layers:
            assert self._command is not None
            pages = min(pages, layer.writable(self._command))
        return pages

    def stored(self, kept: NDArray[np.bool_]) -> None:
        """Which of the pages lie on the media now, with the sectors that `sectors_for` told."""
        for layer, changed in zip(self._layers, self._changed, strict=True):
            layer.stored(int(np.count_nonzero(changed & kept)))

    def turned_back(self, pages: int) -> None:
        """So many pages were refused because the media is not writable."""
        for layer in self._layers:
            layer.turned_back(pages)


PLAIN: Final = Storing((), None)
"""No layer."""
