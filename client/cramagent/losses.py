"""Which pages were lost, and why: one record for every page, told in runs.

The policy says of each page when it becomes LOST (`Host.take_lost`). It is asked before a space or a
page goes, so that what it names can still be told by the workload's own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cramagent.policy.host import LossCause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cramagent.policy.host import Host, LostPage

_CAUSES: Final = {
    "STALE_GENERATION": "reset",
    "UNKNOWN_SESSION": "reset",
    "LEASE_EXPIRED": "lease_expired",
    "SESSION_ENDED": "session_ended",
}
"""The wire's reason for the end of a session, and what the report calls it."""


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
    node: int = 0
    """The node that lost them."""


@dataclass(slots=True)
class Losses:
    """Every page that was lost, once for each time that it was."""

    session_cause: Callable[[int], str]
    """Why the last session of a node ended."""
    runs: list[Loss] = field(default_factory=list)

    def collect(self, host: Host, spaces: Mapping[int, int]) -> int:
        """Record what the policy says was lost since it was asked last; how many pages that were.

        Args:
            host: whose pages.
            spaces: the host's number of each of the workload's spaces.
        """
        lost = host.take_lost()
        if not lost:
            return 0
        name_of = {host_space: space for space, host_space in spaces.items()}
        told = sorted((name_of[page.space], page.vpn, self._cause(page), page.node) for page in lost)
        for space, vpn, cause, node in told:
            last = self.runs[-1] if self.runs else Loss(-1, 0, 0, "")
            if (last.space, last.first_vpn + last.pages, last.cause, last.node) == (space, vpn, cause, node):
                last.pages += 1
            else:
                self.runs.append(Loss(space, vpn, 1, cause, node))
        return len(told)

    def _cause(self, page: LostPage) -> str:
        return self.session_cause(page.node) if page.cause is LossCause.SESSION else page.cause.value
