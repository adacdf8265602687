"""What the main loop does for one node: hears its device, keeps the policy true to it, tells of it.

One for each node, and none of them knows of another.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cramagent.journal import NodeChanges
from cramagent.link import LinkState
from cramagent.log import log_often
from cramagent.messages import (
    ControlSilent,
    CreditsGranted,
    CreditsUnanswered,
    EventDropped,
    EventsMissed,
    LinkDown,
    PoisonTold,
    Reading,
    SessionOver,
)

if TYPE_CHECKING:
    from cramagent.attachment import Attachment
    from cramagent.journal import Note
    from cramagent.machine import Machine
    from cramagent.messages import NodeMessage
    from cramagent.node_log import NodeLog

_SAY_NS: Final = 1_000_000_000
"""Between two sentences about an open or closed node."""


class NodeKeeper:
    """The hands of one node's link, in the main loop."""

    def __init__(self, machine: Machine, node: Attachment, lines: NodeLog, note: Note) -> None:
        self.node: Final = node
        self.lines: Final = lines
        self._machine = machine
        self._note = note
        self._changes = NodeChanges()
        self._host_knows: LinkState | None = None
        """None: nobody has looked yet."""
        self._was_open = True
        self._next_say_ns = 0
        self._losses_said = 0
        """Pages lost with a session that were spoken of."""
        self._lags: list[int] = []
        """When the events happened that were heard and not acted on yet, wall time in ns."""

    # -- what its device tells -----------------------------------------------------------------------

    def hear(self, message: NodeMessage) -> None:
        """One message of the session of now."""
        machine, node, link = self._machine, self.node, self.node.link
        host, tally = machine.host, node.tally
        match message:
            case Reading(_, telemetry, event_wall_ns):
                link.up()
                self.tell_host()
                machine.take_reading(node, telemetry, of_event=event_wall_ns > 0)
                if event_wall_ns:
                    tally.events += 1
                    self._lags.append(event_wall_ns)
            case CreditsGranted(_, number, granted, telemetry):
                host.credits_granted(number, granted, node.number)
                machine.take_reading(node, telemetry)
            case CreditsUnanswered(_, number):
                host.credits_unanswered(number, node.number)
            case PoisonTold(_, dpas):
                machine.performer.drive(host.poison_told(dpas, node.number))
            case EventsMissed(_, count):
                tally.events_missed += count
                self.lines.often("events_missed", events=count)
                link.ask()
            case EventDropped(_, late):
                tally.events_late += late
                tally.events_repeated += not late
            case ControlSilent():
                tally.control_silences += 1
                self.lines.often("control_silent", level=logging.WARNING)
                link.up()
                self.tell_host()
            case LinkDown():
                link.down()
                self.tell_host()
            case SessionOver(_, reason):
                link.over(reason)
                self.tell_host()

    @property
    def must_act(self) -> bool:
        """Events were heard that the daemons have not acted on."""
        return bool(self._lags)

    def acted(self) -> None:
        """Now they have."""
        now = self._machine.clock.wall_ns()
        for happened in self._lags:
            self.node.tally.event_lag_seconds.observe(max(0, now - happened) / 1e9)
        self._lags.clear()

    def take_refused_telemetry(self) -> None:
        """A refused write says how the device stands: that is news, too."""
        client = self.node.link.client
        telemetry, client.refused_telemetry = client.refused_telemetry, None
        if telemetry is not None:
            self._machine.take_reading(self.node, telemetry)

    # -- the link ------------------------------------------------------------------------------------

    def tend(self, now_ns: int) -> None:
        """Once a turn of the main loop: bring the policy up to date; attach again where a session is over."""
        self.take_refused_telemetry()
        self.tell_host()
        telemetry = self.node.link.attach_again(now_ns)
        if telemetry is None:
            return
        self.node.tally.reattaches += 1
        self._machine.attached(self.node, telemetry)
        self._host_knows = LinkState.UP
        self.lines.attached_again(telemetry.generation)

    def tell_host(self) -> None:
        """Bring the policy to what the link knows, once for each change."""
        machine, number, state = self._machine, self.node.number, self.node.link.state
        if self._host_knows is None:
            attached = machine.host.snapshot().nodes[number].attached
            self._host_knows = LinkState.UP if attached else LinkState.OVER
        if state is self._host_knows:
            return
        self._host_knows = state
        if state is LinkState.UP:
            machine.host.node_reachable(number)
            self.lines.tell("link_up", "the device answers again")
        elif state is LinkState.DOWN:
            machine.host.node_unreachable(number)
            self.lines.link_down()
        else:
            machine.host.node_lost(number)
            machine.workload.tell_losses()
            lost = machine.host.snapshot().nodes[number].counters.pages_lost_reset
            told, self._losses_said = self._losses_said, lost
            self.lines.session_over(lost - told)

    # -- what its device is asked --------------------------------------------------------------------

    def ask(self, now_ns: int) -> None:
        """Write credits, where they are wanted; and give back what the device asked for, once it is empty."""
        host, link, number = self._machine.host, self.node.link, self.node.number
        if link.state is not LinkState.UP:
            return
        request = host.credit_request(now_ns, number)
        if request is not None:
            link.ask_credits(request)
        size = host.release_ready(number)
        if size is not None:
            link.shrink(size)

    # -- what is told of it --------------------------------------------------------------------------

    def note_changes(self) -> None:
        """Open, closed, online, offline: note what changed, to the moment."""
        machine = self._machine
        online = self.node.link.state is LinkState.UP
        for event in self._changes.look(node_open=machine.host.is_open(self.node.number), online=online):
            self._note(machine.clock.wall_ns(), event, self.node.number)
            if event in {"node_closed", "node_opened"}:
                self._log_gate(event)

    def _log_gate(self, event: str) -> None:
        """A node at its region's limit may open and close many times a second."""
        facts, host, number = self.node.facts, self._machine.host, self.node.number
        log_often(event, facts=lambda: {**facts, "pressure": host.snapshot().nodes[number].pressure})

    def show(self, now_ns: int) -> None:
        """Say if the node opened or closed: once, however often it did."""
        is_open = self._machine.host.is_open(self.node.number)
        if is_open != self._was_open and self._host_knows is LinkState.UP and now_ns >= self._next_say_ns:
            self._next_say_ns = now_ns + _SAY_NS
            self.lines.say(
                "the node is open" if is_open else "the node is closed: the device is short of media"
            )
            self._was_open = is_open
