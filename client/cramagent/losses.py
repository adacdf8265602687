"""Which pages were lost, and why: one record for every page, told in runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cramagent.policy.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cramagent.policy.host import Host

_CAUSES: Final = {
    "STALE_GENERATION": "reset",
    "UNKNOWN_SESSION": "reset",
    "LEASE_EXPIRED": "lease_expired",
    "SESSION_ENDED": "session_ended",
}
"""The wire's reason for the end of a session, and what the report calls it."""
POISON: Final = "poison"


def session_loss(reason: str) -> str:
    """The cause of what was lost when a session ended for the wire's `reason`."""
    return _CAUSES.get(reason.partition(";")[0], "session_ended")


@dataclass(slots=True)
class Loss:
    """A run of pages of one space that were lost together."""

    space: int
    first_vpn: int
    pages: int
    cause: str


@dataclass(slots=True)
class Losses:
    """Every page that was lost, once for each time that it was."""

    runs: list[Loss] = field(default_factory=list)
    _lost_now: set[tuple[int, int]] = field(default_factory=set)

    def find(self, host: Host, spaces: Mapping[int, int], cause: str) -> int:
        """Look through all spaces for pages that are LOST and not known to be; how many there were.

        Args:
            host: whose pages.
            spaces: the host's number of each of the workload's spaces.
            cause: of what is found.
        """
        found = 0
        for space, host_space in spaces.items():
            lost = sorted(vpn for vpn in host.mapped(host_space) if host.state(host_space, vpn) is State.LOST)
            found += self.add(space, lost, cause)
        return found

    def add(self, space: int, vpns: Iterable[int], cause: str) -> int:
        """Record pages, in order, that are not known to be lost; how many there were."""
        added = 0
        for vpn in vpns:
            if (space, vpn) in self._lost_now:
                continue
            self._lost_now.add((space, vpn))
            added += 1
            last = self.runs[-1] if self.runs else None
            if last and (last.space, last.first_vpn + last.pages, last.cause) == (space, vpn, cause):
                last.pages += 1
            else:
                self.runs.append(Loss(space, vpn, 1, cause))
        return added

    def forked(self, parent: int, child: int) -> None:
        """A child inherits lost pages: they were lost once, before there was a child."""
        self._lost_now |= {(child, vpn) for space, vpn in self._lost_now if space == parent}

    def freed(self, space: int, vpn: int) -> None:
        """The page was given up: if it is lost once more, that counts anew."""
        self._lost_now.discard((space, vpn))

    def ended(self, space: int) -> None:
        """So was the whole space."""
        self._lost_now = {page for page in self._lost_now if page[0] != space}
