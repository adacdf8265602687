"""The writable budget: device pages mapped writable at one time. The risk dial.

`budget = pages` is the host's: one count over all its nodes, so that no device, however many there are, has
more pages that may outgrow their media than were dared. Write credits (`tokens`) are each device's own.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.policy.credits import Credits
    from cramagent.policy.folio import Folio
    from cramagent.policy.pressure import Gate
    from cramagent.policy.settings import PolicySettings


class WritableCount:
    """The mail's writable_cnt, of all nodes."""

    __slots__ = ("pages",)

    def __init__(self) -> None:
        self.pages = 0


class Writable:
    """The folios of one node that are mapped writable, longest without a store first."""

    def __init__(
        self, settings: PolicySettings, gate: Gate, credits_held: Credits, count: WritableCount
    ) -> None:
        self._budget = settings.budget_pages
        self._count = count
        self._credits = credits_held
        self._gate = gate
        self._folios: OrderedDict[Folio, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._folios)

    def __contains__(self, folio: Folio) -> bool:
        return folio in self._folios

    def __iter__(self) -> Iterator[Folio]:
        return iter(self._folios)

    @property
    def budget(self) -> int:
        """How many there may be: as set (on all nodes), or what this device keeps media for (`tokens`)."""
        return self._credits.promised if self._credits.in_use else self._budget

    @property
    def ceiling(self) -> int:
        """What of the budget holds now.

        All of it while pressure leaves the node open. While it is closed nothing is made writable,
        and the ager cuts what is to `budget * (1000 - pressure) / 1000`: none at all once the device
        takes no more writes.
        """
        if not self._gate.closed:
            return self.budget
        return self.budget * (1000 - self._gate.pressure) // 1000

    @property
    def has_room(self) -> bool:
        """The mail's rule: writable_cnt < budget. With tokens: a credit is left."""
        if self._credits.in_use:
            return self._credits.unspent > 0
        return self._count.pages < self._budget

    def add(self, folio: Folio, now_ns: int) -> None:
        """One more: writable_cnt++. With tokens, it costs a credit."""
        if self._credits.in_use:
            self._credits.spend()
        folio.stored_ns = now_ns
        self._folios[folio] = None
        self._count.pages += 1

    def remove(self, folio: Folio) -> None:
        """One less: writable_cnt--."""
        del self._folios[folio]
        self._count.pages -= 1

    def stored(self, folio: Folio, now_ns: int) -> None:
        """A store went (or is about to go) through the mapping."""
        folio.stored_ns = now_ns
        self._folios.move_to_end(folio)
