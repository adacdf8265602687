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

    from cramagent.policy.host import Host

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


@dataclass(slots=True)
class Losses:
    """Every page that was lost, once for each time that it was."""

    session_cause: Callable[[], str]
    """Why the last session ended."""
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
        told = sorted((name_of[page.space], page.vpn, self._cause(page.cause)) for page in lost)
        for space, vpn, cause in told:
            last = self.runs[-1] if self.runs else None
            if last and (last.space, last.first_vpn + last.pages, last.cause) == (space, vpn, cause):
                last.pages += 1
            else:
                self.runs.append(Loss(space, vpn, 1, cause))
        return len(told)

    def _cause(self, cause: LossCause) -> str:
        return self.session_cause() if cause is LossCause.SESSION else cause.value
