"""Poison: the bytes of stored pages are lost, and a later read finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxldev.faults.page_choice import PageChoice
from cxldev.outcomes import PageKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PoisonFault(PageChoice):
    """Poison pages of a host. Done at once, not held.

    Only stored pages can be poisoned. Pages are drawn from those that are not poisoned yet.
    """

    kind: ClassVar[str] = "poison"
    wanted: ClassVar[str] = "holds data"

    def eligible(self, kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Stored pages."""
        fit: NDArray[np.bool_] = kinds != PageKind.EMPTY
        return fit

    def drawable(self, kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Stored pages that are sound."""
        fit: NDArray[np.bool_] = self.eligible(kinds) & (kinds != PageKind.POISONED)
        return fit
