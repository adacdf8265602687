"""The lines about one node: what the main loop says of it, and what changed between two looks at it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from cramagent.changes_seen import ChangesSeen
from cramagent.log import log_often
from cramagent.losses import session_loss

if TYPE_CHECKING:
    from cramagent.attachment import Attachment
    from cramagent.log import AgentLog
    from cramagent.policy.snapshot import NodeSnapshot

_COUNTED: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "no_more_writes": ("no_more_writes", "times", {}),
    "pages_lost_released": ("pages_lost", "pages", {"cause": "released"}),
    "pages_lost_poison": ("pages_lost", "pages", {"cause": "poison"}),
}
"""Counters of a node whose growth is an event: its name, what is counted, and facts that go with it."""


class NodeLog:
    """Writes lines with the node's facts; compares the node of now with the one that it saw last.

    Where there are several nodes, sentences name the device.
    """

    def __init__(self, log: AgentLog, node: Attachment, *, alone: bool) -> None:
        self._log = log
        self._node = node
        self._named = "" if alone else f"{node.device}: "
        self._rest = "DRAM and swap" if alone else "DRAM, swap and the other devices"
        self._generation = ""
        """Of the last session that was over."""
        self._seen = ChangesSeen(self.tell)
        self._writeback_pages = 0
        """Of the writeback that is under way; 0: there is none."""

    def tell(self, event: str, sentence: str = "", *, level: int = logging.INFO, **facts: Any) -> None:
        """As `AgentLog.tell`."""
        named = f"{self._named}{sentence}" if sentence else ""
        self._log.tell(event, named, level=level, **self._node.facts, **facts)

    def say(self, sentence: str) -> None:
        """As `AgentLog.say`."""
        self._log.say(f"{self._named}{sentence}")

    def often(self, event: str, *, level: int = logging.INFO, **facts: Any) -> None:
        """What may storm."""
        log_often(event, level=level, facts=lambda: {**self._node.facts, **facts})

    def link_down(self) -> None:
        """Its pages stall."""
        sentence = f"the device does not answer: going on with {self._rest}"
        self.tell("link_down", sentence, level=logging.WARNING)

    def session_over(self, pages_lost: int) -> None:
        """And with it these pages."""
        link = self._node.link
        self._generation = link.generation
        sentence = f"the session is over ({link.over_reason}): {pages_lost} pages are lost"
        facts = {"reason": link.over_reason, "pages_lost": pages_lost}
        self.tell("session_over", sentence, level=logging.WARNING, **facts)

    def attached_again(self, generation: str) -> None:
        """A new session, after the last one was over."""
        if generation != self._generation:
            self.tell("generation_changed", generation_before=self._generation)
        sentence = f"attached again, generation {generation}"
        self.tell("attached_again", sentence, transport=self._node.link.client.transport)

    def look(self, now: NodeSnapshot, *, last: bool) -> None:
        """Tell what changed since the last look."""
        seen, counters = self._seen, now.counters
        seen.changed("transport_changed", "transport", self._node.link.client.transport)
        seen.changed("region_resized", "pages", now.pages)
        seen.changed("balloon_target_changed", "pages", now.balloon_target, pages_held=now.balloon_size)
        for counter, (event, what, facts) in _COUNTED.items():
            seen.growth(counters, counter, event, what, **facts)
        if more := seen.more(counters, "pages_lost_reset"):
            cause = session_loss(self._node.link.over_reason)
            self.tell("pages_lost", level=logging.WARNING, pages=more, cause=cause)
        self._writeback(now)
        if last and self._writeback_pages:
            self.tell("writeback_ended", pages=self._writeback_pages)

    def _writeback(self, now: NodeSnapshot) -> None:
        seen, counters = self._seen, now.counters
        more, no_room = seen.more(counters, "writebacks"), seen.more(counters, "writeback_no_room")
        asked_by = {
            "release": seen.more(counters, "writebacks_release"),
            "balloon": seen.more(counters, "writebacks_balloon"),
        }
        if more and not self._writeback_pages:
            why = next((who for who, pages in asked_by.items() if pages), "pressure")
            self.tell("writeback_began", why=why, pressure=now.pressure)
        if not more and self._writeback_pages:
            self.tell("writeback_ended", pages=self._writeback_pages)
            self._writeback_pages = 0
        self._writeback_pages += more
        if no_room:
            self.tell("writeback_no_room", level=logging.WARNING, pages=no_room)
