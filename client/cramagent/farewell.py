"""How a run ends, and what becomes of its sessions."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cramagent.refusals import NodeRefused, NodeSilent, ProtocolBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramagent.machine import Machine
    from cramagent.run_log import RunLog
    from cramagent.verifier import Verified

BREAKS: Final = (ProtocolBroken, NodeRefused, NodeSilent, OSError)
"""What may break under the main loop, and is no mistake of it: a device's nonsense, a file gone bad."""
GOES_ON: Final = ("sigterm", "sigint", "duration", "accesses")
"""Ends of a run that another one can go on from."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    reason: str
    wall_ns: int
    verified: Verified
    detached: bool
    error: str = ""
    """What broke, in a run that ended by `failed`."""


class Farewell:
    """Of a machine that stands still."""

    def __init__(self, machine: Machine, lines: RunLog) -> None:
        self._machine = machine
        self._lines = lines

    def leave(self, keep: Callable[[Machine], None]) -> None:
        """Keep the machine and leave its sessions to the next run.

        Raises:
            OSError: it cannot be kept; the sessions go on.
        """
        keep(self._machine)
        for node in self._machine.attachments:
            node.link.leave()
        alone = len(self._machine.attachments) == 1
        session = "the session is" if alone else "the sessions are"
        self._lines.tell("state_saved", f"kept: {session} left to the next run")

    def detach(self) -> bool:
        """End every session; whether there was one, and each device took the goodbye."""
        taken: list[bool] = []
        for node, lines in zip(self._machine.attachments, self._lines.nodes, strict=True):
            had_session = node.link.session is not None
            try:
                node.link.close()
            except (NodeRefused, NodeSilent) as error:
                lines.tell("not_detached", f"not detached: {error}", level=logging.WARNING)
                taken.append(False)
                continue
            if had_session:
                lines.tell("detached")
                taken.append(True)
        return bool(taken) and all(taken)
