"""The main loop: the only thread that touches the policy.

Each turn: hear the inbox, tend the link, play one change of the source, bring lost pages back, draw
accesses, run the daemons, publish what is seen. With nothing due it sleeps in the inbox, so an event
of the device is acted on at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from queue import Empty
from typing import TYPE_CHECKING, Final

from cramagent.accesses import OutOfMemory
from cramagent.journal import NodeChanges
from cramagent.link import LinkState
from cramagent.messages import (
    ControlSilent,
    CreditsGranted,
    CreditsUnanswered,
    EventDropped,
    EventsMissed,
    LinkDown,
    Pause,
    PoisonTold,
    Reading,
    SessionOver,
    Stop,
)
from cramagent.node_log import NodeLog
from cramagent.refusals import NodeRefused, NodeSilent, ProtocolBroken
from cramagent.verifier import Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cramagent.clock import Inbox
    from cramagent.log import AgentLog
    from cramagent.machine import Machine
    from cramagent.messages import Message
    from cramagent.sources.changes import Change

NS_PER_S: Final = 1_000_000_000
_PUBLISH_NS: Final = 200_000_000
_LONGEST_WAIT_NS: Final = 20_000_000
"""For a device that is silent, at the end: then the inbox is looked at again."""
_BREAKS: Final = (ProtocolBroken, NodeRefused, NodeSilent, OSError)
"""What may break under the loop and is no mistake of it: a device that answers nonsense, a file gone bad."""
_GOES_ON: Final = ("sigterm", "sigint", "duration", "accesses")
"""Ends of a run that another one can go on from."""
_CATCH_UP_BATCHES: Final = 8
"""Accesses that were due while the loop was busy elsewhere are made up for, up to so many batches."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how long. Times in ns; 0 is no limit."""

    interval_ns: int = NS_PER_S
    """Between the beginnings of two scans of the source."""
    rate: int = 2_000
    """Drawn accesses per second; 0: as many as can be had."""
    batch_pages: int = 64
    """Drawn accesses that are resolved together."""
    duration_ns: int = 0
    accesses: int = 0
    """Drawn accesses after which the run ends."""
    background_ns: int = 20_000_000
    """The daemons have a turn at least this often."""
    patience_ns: int = 3 * NS_PER_S
    """How long the end of the run waits for a device that does not answer."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    reason: str
    wall_ns: int
    verified: Verified
    detached: bool
    error: str = ""
    """What broke, in a run that ended by `failed`."""


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
        note: Callable[[int, str], None],
        keep: Callable[[Machine], None] | None = None,
    ) -> None:
        """`keep`: saves the machine for a run that goes on where this one ended; may raise OSError."""
        self._machine = machine
        self._keep = keep
        self._now_ns = machine.clock.now_ns
        self._inbox = inbox
        self._pace = pace
        self._publish = publish
        self._note = note
        self._changes = NodeChanges()
        self._lines = NodeLog(log, machine)
        self._tell = self._lines.tell
        self._scan: Iterator[Change | None] | None = None
        self._next_scan_ns = 0
        self._next_background_ns = 0
        self._next_publish_ns = 0
        self._drawn = 0
        self._drawing_since_ns = 0
        self._paused = False
        self._host_knows = LinkState.UP
        self._was_open = True
        self._next_say_ns = 0
        self._losses_said = 0
        """Pages lost with a session that were spoken of."""
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
            self._tell("out_of_memory", str(full), level=logging.ERROR)
        except _BREAKS as broken:
            self._fail(broken)
        verified = Verified()
        try:
            verified = self._verify()
        except _BREAKS as broken:
            self._fail(broken)
        self._publish(self._machine)
        self._lines.look(self._now_ns(), last=True)
        ran_ns, detached = self._now_ns() - began_ns, self._detach()
        return Ending(self._reason, ran_ns, verified, detached, self._error)

    def _fail(self, broken: Exception) -> None:
        """The run cannot go on, or its end cannot be verified: what broke first is what is told."""
        self._tell("failed", f"failed: {broken}", level=logging.ERROR)
        if not self._error:
            self._reason, self._error = "failed", str(broken)

    # -- one turn ----------------------------------------------------------------------------------

    def _turn(self, began_ns: int) -> None:
        machine = self._machine
        self._hear(block_ns=0)
        now = self._now_ns()
        self._tend_link(now)
        busy = self._step_scan(now)
        busy |= machine.workload.restore(answering=machine.link.state is LinkState.UP)
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
        self._take_refused_telemetry()
        self._ask_credits()
        self._answer_release()
        self._note_changes()
        self._next_background_ns = self._now_ns() + self._pace.background_ns

    def _ask_credits(self) -> None:
        machine = self._machine
        if machine.link.state is LinkState.UP:
            request = machine.host.credit_request(self._now_ns())
            if request is not None:
                machine.link.ask_credits(request)

    def _answer_release(self) -> None:
        """Once nothing is left of what the device asked back: give it back."""
        machine = self._machine
        if machine.link.state is LinkState.UP and (size := machine.host.release_ready()) is not None:
            machine.link.shrink(size)

    def _note_changes(self) -> None:
        machine = self._machine
        online = machine.link.state is LinkState.UP
        for event in self._changes.look(node_open=machine.host.is_open(), online=online):
            self._note(machine.clock.wall_ns(), event)
            self._lines.node_changed(event)

    def _show(self, now_ns: int) -> None:
        """Publish a picture, and say if the node opened or closed: a snapshot is too dear for every turn."""
        self._next_publish_ns = now_ns + _PUBLISH_NS
        self._publish(self._machine)
        self._lines.look(now_ns)
        is_open = self._machine.host.is_open()
        if is_open != self._was_open and self._host_knows is LinkState.UP and now_ns >= self._next_say_ns:
            # A node at its region's limit may open and close many times a second: say it once.
            self._next_say_ns = now_ns + NS_PER_S
            self._lines.say(
                "the node is open" if is_open else "the node is closed: the device is short of media"
            )
            self._was_open = is_open

    def _step_scan(self, now_ns: int) -> bool:
        """One change of the source; whether there was a scan to go on with."""
        machine = self._machine
        if self._scan is None:
            if self._stands_still:
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
            if not self._drawing_since_ns:
                self._drawing_since_ns = self._now_ns()
                pages = len(machine.truth)
                self._tell("stored", f"{pages} pages stored; the accesses begin", pages=pages)
            return False
        if change is not None:
            machine.workload.apply(change)
        return True

    def _draw(self, now_ns: int) -> bool:
        """A batch of accesses, if one is due; they begin when the source was stored once."""
        if (
            not self._drawing_since_ns
            or self._paused
            or (self._pace.accesses and self._drawn >= self._pace.accesses)
        ):
            return False
        batch = self._pace.batch_pages
        if self._pace.rate:
            due = (now_ns - self._drawing_since_ns) * self._pace.rate // NS_PER_S - self._drawn
            if due > _CATCH_UP_BATCHES * batch:
                # What cannot be made up for is forgotten: the clock starts anew.
                self._drawing_since_ns += (due - batch) * NS_PER_S // self._pace.rate
            if due < batch:
                return False
        if self._pace.accesses:
            batch = min(batch, self._pace.accesses - self._drawn)
        drawn = self._machine.workload.draw(batch)
        self._drawn += batch
        return drawn > 0

    @property
    def _stands_still(self) -> bool:
        """The source is stored once, whatever was asked."""
        return self._paused and self._drawing_since_ns > 0

    def _pause(self, *, stand_still: bool) -> None:
        if self._paused != stand_still:
            self._tell("programs_stand_still" if stand_still else "programs_go_on")
        if self._paused and not stand_still and self._drawing_since_ns and self._pace.rate:
            # What was due meanwhile is not made up for.
            self._drawing_since_ns = self._now_ns() - self._drawn * NS_PER_S // self._pace.rate
        self._paused = stand_still

    def _check_limits(self, now_ns: int, began_ns: int) -> None:
        pace, machine = self._pace, self._machine
        if machine.tally.mismatched:
            self._reason = "mismatch"
        elif machine.source.ended and self._scan is None:
            self._reason = "source_ended"
        elif pace.duration_ns and now_ns - began_ns >= pace.duration_ns:
            self._reason = "duration"
        elif pace.accesses and self._drawn >= pace.accesses:
            self._reason = "accesses"

    # -- the inbox ---------------------------------------------------------------------------------

    def _hear(self, *, block_ns: int) -> None:
        """Handle what the other threads told; wait for it for `block_ns` at most."""
        lags: list[int] = []
        try:
            while True:
                message = self._inbox.get(timeout=block_ns / 1e9) if block_ns else self._inbox.get_nowait()
                block_ns = 0
                self._handle(message, lags)
        except Empty:
            pass
        # Before the daemons act on it: what they do may take longer than to know it.
        self._note_changes()
        if lags:
            self._background(self._now_ns())
            acted = self._machine.clock.wall_ns()
            for happened in lags:
                self._machine.tally.event_lag_seconds.observe(max(0, acted - happened) / 1e9)

    def _handle(self, message: Message, lags: list[int]) -> None:
        machine = self._machine
        if isinstance(message, Stop):
            self._reason = self._reason or message.reason
            return
        if isinstance(message, Pause):
            self._pause(stand_still=message.stand_still)
            return
        if not machine.link.is_mine(message.session):
            return
        match message:
            case Reading(_, telemetry, event_wall_ns):
                machine.link.up()
                self._tell_host()
                machine.take_reading(telemetry, of_event=event_wall_ns > 0)
                if event_wall_ns:
                    machine.tally.events += 1
                    lags.append(event_wall_ns)
            case CreditsGranted(_, number, granted, telemetry):
                machine.host.credits_granted(number, granted)
                machine.take_reading(telemetry)
            case CreditsUnanswered(_, number):
                machine.host.credits_unanswered(number)
            case PoisonTold(_, dpas):
                machine.performer.drive(machine.host.poison_told(dpas))
            case EventsMissed(_, count):
                machine.tally.events_missed += count
                self._lines.often("events_missed", events=count)
                machine.link.ask()
            case EventDropped(_, late):
                machine.tally.events_late += late
                machine.tally.events_repeated += not late
            case ControlSilent():
                machine.tally.control_silences += 1
                self._lines.often("control_silent", level=logging.WARNING)
                machine.link.up()
                self._tell_host()
            case LinkDown():
                machine.link.down()
                self._tell_host()
            case SessionOver(_, reason):
                machine.link.over(reason)
                self._tell_host()

    def _take_refused_telemetry(self) -> None:
        """A refused write says how the device stands: that is news, too."""
        client = self._machine.link.client
        telemetry, client.refused_telemetry = client.refused_telemetry, None
        if telemetry is not None:
            self._machine.take_reading(telemetry)

    # -- the link ----------------------------------------------------------------------------------

    def _tend_link(self, now_ns: int) -> None:
        machine = self._machine
        self._take_refused_telemetry()
        self._tell_host()
        telemetry = machine.link.attach_again(now_ns)
        if telemetry is None:
            return
        machine.tally.reattaches += 1
        machine.attached(telemetry)
        self._host_knows = LinkState.UP
        self._lines.attached_again(telemetry.generation)

    def _tell_host(self) -> None:
        """Bring the policy to what the link knows, once for each change."""
        machine, state = self._machine, self._machine.link.state
        if state is self._host_knows:
            return
        self._host_knows = state
        if state is LinkState.UP:
            machine.host.node_reachable()
            self._tell("link_up", "the device answers again")
        elif state is LinkState.DOWN:
            machine.host.node_unreachable()
            sentence = "the device does not answer: going on with DRAM and swap"
            self._tell("link_down", sentence, level=logging.WARNING)
        else:
            machine.host.node_lost()
            machine.workload.tell_losses()
            told, self._losses_said = self._losses_said, machine.host.counters.pages_lost_reset
            self._lines.session_over(self._losses_said - told)

    # -- the end -----------------------------------------------------------------------------------

    def _verify(self) -> Verified:
        """Every page once more; a device that is silent is waited for, a while."""
        machine = self._machine
        pages = len(machine.truth)
        self._tell(
            "verifying", f"{self._reason}: verifying {pages} pages", exit_reason=self._reason, pages=pages
        )
        machine.performer.settle()
        until = self._now_ns() + self._pace.patience_ns
        while machine.link.state is LinkState.DOWN and (left := until - self._now_ns()) > 0:
            self._hear(block_ns=min(left, _LONGEST_WAIT_NS))
        self._tell_host()
        verified = machine.verifier.verify()
        self._tell_host()
        return verified

    @property
    def _is_kept(self) -> bool:
        """Whether the next run goes on where this one ends."""
        return self._keep is not None and self._reason in _GOES_ON and self._machine.link.session is not None

    def _end_scan(self) -> None:
        """A source goes on from between two scans."""
        while self._scan is not None:
            self._step_scan(self._now_ns())

    def _leave(self, keep: Callable[[Machine], None]) -> bool:
        """Keep the machine and leave the session to the next run. Whether the machine was kept."""
        try:
            keep(self._machine)
        except OSError as error:
            self._fail(error)
            return False
        self._machine.link.leave()
        self._tell("state_saved", "kept: the session is left to the next run")
        return True

    def _detach(self) -> bool:
        """Whether the device took the goodbye."""
        if self._keep is not None and self._is_kept and self._leave(self._keep):
            return False
        had_session = self._machine.link.session is not None
        try:
            self._machine.link.close()
        except (NodeRefused, NodeSilent) as error:
            self._tell("not_detached", f"not detached: {error}", level=logging.WARNING)
            return False
        if had_session:
            self._tell("detached")
        return had_session
