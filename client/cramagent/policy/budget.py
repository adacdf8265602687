"""The writable budget: device pages mapped writable at one time. The risk dial."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.policy.credits import Credits
    from cramagent.policy.folio import Folio
    from cramagent.policy.pressure import Gate
    from cramagent.policy.settings import PolicySettings


class Writable:
    """The folios mapped writable, longest without a store first. `len` is the mail's writable_cnt."""

    def __init__(self, settings: PolicySettings, gate: Gate, credits_held: Credits) -> None:
        self._budget = settings.budget_pages
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
        """How many there may be: as set, or what the device keeps media for (`budget = tokens`)."""
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
        return len(self._folios) < self._budget

    def add(self, folio: Folio, now_ns: int) -> None:
        """One more: writable_cnt++. With tokens, it costs a credit."""
        if self._credits.in_use:
            self._credits.spend()
        folio.stored_ns = now_ns
        self._folios[folio] = None

    def remove(self, folio: Folio) -> None:
        """One less: writable_cnt--."""
        del self._folios[folio]

    def stored(self, folio: Folio, now_ns: int) -> None:
        """A store went (or is about to go) through the mapping."""
        folio.stored_ns = now_ns
        self._folios.move_to_end(folio)
