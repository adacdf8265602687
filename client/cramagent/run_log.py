"""The lines about a run: what the main loop says, and a look at host and nodes now and then.

A look costs a snapshot, so there is one a second, and none where nobody reads lines.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from cramagent.changes_seen import ChangesSeen
from cramagent.node_log import NodeLog

if TYPE_CHECKING:
    from cramagent.log import AgentLog
    from cramagent.machine import Machine

LOOK_NS: Final = 1_000_000_000

_COUNTED: Final[dict[str, tuple[str, str]]] = {
    "bus_error_kills": ("bus_error_kill", "spaces"),
    "bus_error_rescues": ("bus_error_rescue", "pages"),
}
"""Counters of the host whose growth is an event: its name, and what is counted."""


class RunLog:
    """Lines of the host, which carry the facts of its node if it has but one; and the log of each node."""

    def __init__(self, log: AgentLog, machine: Machine) -> None:
        self._log = log
        self._machine = machine
        alone = len(machine.attachments) == 1
        self.nodes: Final = tuple([NodeLog(log, node, alone=alone) for node in machine.attachments])
        """By number."""
        self._next_look_ns = 0
        self._seen = ChangesSeen(self.tell)

    def tell(self, event: str, sentence: str = "", *, level: int = logging.INFO, **facts: Any) -> None:
        """As `AgentLog.tell`."""
        nodes = self._machine.attachments
        self._log.tell(event, sentence, level=level, **(nodes[0].facts if len(nodes) == 1 else {}), **facts)

    def look(self, now_ns: int, *, last: bool = False) -> None:
        """Tell what changed, if it is time for a look, or it is the `last` one."""
        if not self._log.has_lines or (now_ns < self._next_look_ns and not last):
            return
        self._next_look_ns = now_ns + LOOK_NS
        now, counters = self._machine.host.snapshot(), self._machine.host.counters
        self._seen.changed("budget_changed", "pages", now.writable_ceiling)
        for counter, (event, what) in _COUNTED.items():
            self._seen.growth(counters, counter, event, what)
        for log, node in zip(self.nodes, now.nodes, strict=True):
            log.look(node, last=last)
