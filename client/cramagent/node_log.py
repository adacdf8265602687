"""The lines about one node: what the main loop says, and what changed between two looks at it.

A look costs a snapshot, so there is one a second, and none where nobody reads lines.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from cramagent.log import log_often
from cramagent.losses import session_loss

if TYPE_CHECKING:
    from cramagent.log import AgentLog
    from cramagent.machine import Machine
    from cramagent.policy.counters import HostCounters

LOOK_NS: Final = 1_000_000_000

_COUNTED: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "no_more_writes": ("no_more_writes", "times", {}),
    "bus_error_kills": ("bus_error_kill", "spaces", {}),
    "bus_error_rescues": ("bus_error_rescue", "pages", {}),
    "pages_lost_released": ("pages_lost", "pages", {"cause": "released"}),
    "pages_lost_poison": ("pages_lost", "pages", {"cause": "poison"}),
}
"""Counters whose growth is an event: its name, what is counted, and facts that go with it."""


class NodeLog:
    """Writes lines with the node's facts; compares the node of now with the one that it saw last."""

    def __init__(self, log: AgentLog, machine: Machine) -> None:
        self._log = log
        self._machine = machine
        self.say: Final = log.say
        self._generation = ""
        """Of the last session that was over."""
        self._next_look_ns = 0
        self._gauges: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._writeback_pages = 0
        """Of the writeback that is under way; 0: there is none."""

    def tell(self, event: str, sentence: str = "", *, level: int = logging.INFO, **facts: Any) -> None:
        """As `AgentLog.tell`."""
        self._log.tell(event, sentence, level=level, **self._machine.link.client.facts, **facts)

    def often(self, event: str, *, level: int = logging.INFO, **facts: Any) -> None:
        """What may storm."""
        log_often(event, level=level, facts=lambda: {**self._machine.link.client.facts, **facts})

    def node_changed(self, event: str) -> None:
        """A node at its region's limit may open and close many times a second."""
        if event in {"node_closed", "node_opened"}:
            facts, host = self._machine.link.client.facts, self._machine.host
            log_often(event, facts=lambda: {**facts, "pressure": host.snapshot().pressure})

    def session_over(self, pages_lost: int) -> None:
        """And with it these pages."""
        link = self._machine.link
        self._generation = link.generation
        sentence = f"the session is over ({link.over_reason}): {pages_lost} pages are lost"
        facts = {"reason": link.over_reason, "pages_lost": pages_lost}
        self.tell("session_over", sentence, level=logging.WARNING, **facts)

    def attached_again(self, generation: str) -> None:
        """A new session, after the last one was over."""
        if generation != self._generation:
            self.tell("generation_changed", generation_before=self._generation)
        sentence = f"attached again, generation {generation}"
        self.tell("attached_again", sentence, transport=self._machine.link.client.transport)

    def look(self, now_ns: int, *, last: bool = False) -> None:
        """Tell what changed, if it is time for a look, or it is the `last` one."""
        if not self._log.has_lines or (now_ns < self._next_look_ns and not last):
            return
        self._next_look_ns = now_ns + LOOK_NS
        machine = self._machine
        now, counters = machine.host.snapshot(), machine.host.counters
        self._changed("transport_changed", "transport", machine.link.client.transport)
        self._changed("region_resized", "pages", now.node_pages)
        self._changed("budget_changed", "pages", now.writable_ceiling)
        self._changed("balloon_target_changed", "pages", now.balloon_target, pages_held=now.balloon_size)
        for counter, (event, what, facts) in _COUNTED.items():
            if more := self._more(counter, counters):
                told: dict[str, Any] = {what: more, **facts}
                self.tell(event, level=logging.WARNING, **told)
        if more := self._more("pages_lost_reset", counters):
            cause = session_loss(machine.link.over_reason)
            self.tell("pages_lost", level=logging.WARNING, pages=more, cause=cause)
        self._writeback(counters, now.pressure)
        if last and self._writeback_pages:
            self.tell("writeback_ended", pages=self._writeback_pages)

    def _changed(self, event: str, what: str, value: Any, **facts: Any) -> None:
        before = self._gauges.setdefault(event, value)
        if value != before:
            self._gauges[event] = value
            self.tell(event, **{f"{what}_before": before, what: value}, **facts)

    def _more(self, counter: str, counters: HostCounters) -> int:
        value: int = getattr(counters, counter)
        before = self._counts.get(counter, 0)
        self._counts[counter] = value
        return value - before

    def _writeback(self, counters: HostCounters, pressure: int) -> None:
        more, no_room = self._more("writebacks", counters), self._more("writeback_no_room", counters)
        asked_by = {
            "release": self._more("writebacks_release", counters),
            "balloon": self._more("writebacks_balloon", counters),
        }
        if more and not self._writeback_pages:
            why = next((who for who, pages in asked_by.items() if pages), "pressure")
            self.tell("writeback_began", why=why, pressure=pressure)
        if not more and self._writeback_pages:
            self.tell("writeback_ended", pages=self._writeback_pages)
            self._writeback_pages = 0
        self._writeback_pages += more
        if no_room:
            self.tell("writeback_no_room", level=logging.WARNING, pages=no_room)
