"""The main loop: the only thread that touches the policy.

Each turn: hear the inbox, tend the links, play one change of the source, bring lost pages back, draw
accesses, run the daemons, publish what is seen. With nothing due it sleeps in the inbox, so an event
of a device is acted on at once.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import TYPE_CHECKING, Final

from cramagent.accesses import OutOfMemory
from cramagent.farewell import BREAKS, GOES_ON, Ending, Farewell
from cramagent.link import LinkState
from cramagent.messages import Pause, Stop
from cramagent.node_keeper import NodeKeeper
from cramagent.pace import DrawnPace
from cramagent.run_log import RunLog
from cramagent.verifier import Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cramagent.clock import Inbox
    from cramagent.journal import Note
    from cramagent.log import AgentLog
    from cramagent.machine import Machine
    from cramagent.messages import Message
    from cramagent.pace import Pace
    from cramagent.sources.changes import Change

_PUBLISH_NS: Final = 200_000_000
_LONGEST_WAIT_NS: Final = 20_000_000
"""For a device that is silent, at the end: then the inbox is looked at again."""
_DISK_FULL: Final = "; the disk of the swap file has no room: give --swap-dir another folder"


class Runner:
    """Runs one machine until it is told to stop, or a limit, the source's end or a mismatch ends it."""

    def __init__(
        self,
        machine: Machine,
        inbox: Inbox[Message],
        pace: Pace,
        *,
        log: AgentLog,
        publish: Callable[[Machine], None],
        note: Note,
        keep: Callable[[Machine], None] | None = None,
    ) -> None:
        """`keep`: saves the machine for a run that goes on where this one ended; may raise OSError."""
        self._machine = machine
        self._keep = keep
        self._now_ns = machine.clock.now_ns
        self._inbox = inbox
        self._pace = pace
        self._drawn = DrawnPace(pace)
        self._publish = publish
        self._lines = RunLog(log, machine)
        self._tell = self._lines.tell
        self._keepers = tuple(
            [
                NodeKeeper(machine, node, lines, note)
                for node, lines in zip(machine.attachments, self._lines.nodes, strict=True)
            ]
        )
        self._scan: Iterator[Change | None] | None = None
        self._next_scan_ns = 0
        self._next_background_ns = 0
        self._next_publish_ns = 0
        self._reason = ""
        self._error = ""

    def run(self) -> Ending:
        """The whole run, from the first scan to the detach."""
        began_ns = self._now_ns()
        try:
            while not self._reason:
                self._turn(began_ns)
            if self._is_kept:
                self._end_scan()
        except OutOfMemory as full:
            self._reason = "out_of_memory"
            disk = _DISK_FULL if self._machine.swap_disk_full else ""
            self._tell("out_of_memory", f"{full}{disk}", level=logging.ERROR)
        except BREAKS as broken:
            self._fail(broken)
        verified = Verified()
        try:
            verified = self._verify()
        except BREAKS as broken:
            self._fail(broken)
        self._publish(self._machine)
        self._lines.look(self._now_ns(), last=True)
        ran_ns, detached = self._now_ns() - began_ns, self._part()
        return Ending(self._reason, ran_ns, verified, detached, self._error)

    def _fail(self, broken: Exception) -> None:
        """The run cannot go on, or its end cannot be verified: what broke first is what is told."""
        self._tell("failed", f"failed: {broken}", level=logging.ERROR)
        if not self._error:
            self._reason, self._error = "failed", str(broken)

    # -- one turn ----------------------------------------------------------------------------------

    def _turn(self, began_ns: int) -> None:
        self._hear(block_ns=0)
        now = self._now_ns()
        for keeper in self._keepers:
            keeper.tend(now)
        busy = self._step_scan(now)
        busy |= self._machine.workload.restore(self._silent())
        busy |= self._draw(now)
        now = self._now_ns()
        if busy or now >= self._next_background_ns:
            self._background(now)
        if now >= self._next_publish_ns:
            self._show(now)
        self._check_limits(now, began_ns)
        if not busy and not self._reason:
            self._hear(block_ns=max(0, self._next_background_ns - now))

    def _background(self, now_ns: int) -> None:
        machine = self._machine
        machine.performer.resume()
        machine.performer.drive(machine.host.upkeep(now_ns))
        machine.performer.begin(machine.host.kswapd(now_ns))
        machine.workload.tell_losses()
        for keeper in self._keepers:
            keeper.take_refused_telemetry()
            keeper.ask(self._now_ns())
            keeper.note_changes()
        self._next_background_ns = self._now_ns() + self._pace.background_ns

    def _silent(self) -> list[int]:
        """Numbers of the nodes whose device does not answer."""
        return [node.number for node in self._machine.attachments if node.link.state is LinkState.DOWN]

    def _show(self, now_ns: int) -> None:
        """Publish a picture, and say which nodes opened or closed: a snapshot is too dear for every turn."""
        self._next_publish_ns = now_ns + _PUBLISH_NS
        self._publish(self._machine)
        self._lines.look(now_ns)
        for keeper in self._keepers:
            keeper.show(now_ns)

    def _step_scan(self, now_ns: int) -> bool:
        """One change of the source; whether there was a scan to go on with."""
        machine, drawn = self._machine, self._drawn
        if self._scan is None:
            if drawn.paused and drawn.begun:
                # The source is stored once, whatever was asked.
                return False
            if machine.source.ended or (now_ns < self._next_scan_ns and not machine.workload.begin_anew):
                return False
            machine.workload.begin_anew = False
            self._scan = machine.source.scan()
            self._next_scan_ns = now_ns + self._pace.interval_ns
        try:
            change = next(self._scan)
        except StopIteration:
            self._scan = None
            machine.tally.scans += 1
            if not drawn.begun:
                drawn.begin(self._now_ns())
                pages = len(machine.truth)
                self._tell("stored", f"{pages} pages stored; the accesses begin", pages=pages)
            return False
        if change is not None:
            machine.workload.apply(change)
        return True

    def _draw(self, now_ns: int) -> bool:
        """A batch of accesses, if one is due."""
        due = self._drawn.due(now_ns)
        return due > 0 and self._machine.workload.draw(due) > 0

    def _pause(self, *, stand_still: bool) -> None:
        if self._drawn.paused != stand_still:
            self._tell("programs_stand_still" if stand_still else "programs_go_on")
        self._drawn.pause(self._now_ns(), stand_still=stand_still)

    def _check_limits(self, now_ns: int, began_ns: int) -> None:
        pace, machine = self._pace, self._machine
        if machine.tally.mismatched:
            self._reason = "mismatch"
        elif machine.source.ended and self._scan is None:
            self._reason = "source_ended"
        elif pace.duration_ns and now_ns - began_ns >= pace.duration_ns:
            self._reason = "duration"
        elif self._drawn.done:
            self._reason = "accesses"

    # -- the inbox ---------------------------------------------------------------------------------

    def _hear(self, *, block_ns: int) -> None:
        """Handle what the other threads told; wait for it for `block_ns` at most."""
        try:
            while True:
                message = self._inbox.get(timeout=block_ns / 1e9) if block_ns else self._inbox.get_nowait()
                block_ns = 0
                self._handle(message)
        except Empty:
            pass
        # Before the daemons act on it: what they do may take longer than to know it.
        for keeper in self._keepers:
            keeper.note_changes()
        if any(keeper.must_act for keeper in self._keepers):
            self._background(self._now_ns())
            for keeper in self._keepers:
                keeper.acted()

    def _handle(self, message: Message) -> None:
        if isinstance(message, Stop):
            self._reason = self._reason or message.reason
        elif isinstance(message, Pause):
            self._pause(stand_still=message.stand_still)
        else:
            # Nobody's, if it is about a former session.
            for keeper in self._keepers:
                if keeper.node.link.is_mine(message.session):
                    keeper.hear(message)

    # -- the end -----------------------------------------------------------------------------------

    def _verify(self) -> Verified:
        """Every page once more. A device that is silent is waited for, a while, and looked at again then."""
        machine = self._machine
        pages = len(machine.truth)
        self._tell(
            "verifying", f"{self._reason}: verifying {pages} pages", exit_reason=self._reason, pages=pages
        )
        machine.performer.settle()
        until = self._now_ns() + self._pace.patience_ns
        while True:
            while self._silent() and (left := until - self._now_ns()) > 0:
                self._hear(block_ns=min(left, _LONGEST_WAIT_NS))
            self._tell_host()
            verified = machine.verifier.verify()
            self._tell_host()
            # One that was thought to be there may have gone away unnoticed: then it was found out just now.
            if not verified.unread or self._now_ns() >= until:
                return verified

    def _tell_host(self) -> None:
        for keeper in self._keepers:
            keeper.tell_host()

    @property
    def _is_kept(self) -> bool:
        """Whether the next run goes on where this one ends: a session must be left to go on with."""
        sessions = any(node.link.session is not None for node in self._machine.attachments)
        return self._keep is not None and self._reason in GOES_ON and sessions

    def _end_scan(self) -> None:
        """A source goes on from between two scans."""
        while self._scan is not None:
            self._step_scan(self._now_ns())

    def _part(self) -> bool:
        """Keep the machine, or give its regions back; whether every device took the goodbye."""
        farewell = Farewell(self._machine, self._lines)
        if self._keep is not None and self._is_kept:
            try:
                farewell.leave(self._keep)
            except OSError as error:
                self._fail(error)
            else:
                return False
        return farewell.detach()
