"""One lane: its memory, its bells, and the threads that answer it.

One thread at a time has the turn: it alone waits for the bell. It takes one command; a small one it
carries out at once and keeps its turn, as a handover between threads costs more than the command. Before
a large one, and before it waits for anything, it passes the turn on: to another thread if a core is free
for it, else to whoever is done first (`crew`). So there are at most as many threads as slots and one more,
and they are this lane's alone: a host that keeps them busy or stuck keeps nobody else waiting.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import select
import socket
import threading
from typing import TYPE_CHECKING, Final

from cramwire.bell import Patience
from cramwire.lane import LaneBroken, Segment, pack_hello
from cramwire.request_id import command_id
from cxldevd.lanes.crew import Crew
from cxldevd.log import log_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramwire.lane import Command, Geometry
    from cxldev.outcomes import SessionRef
    from cxldevd.lanes.commands import LaneCommands

    Heard = tuple[int, int, Command]
    """Slot, number, and the command."""

_LARGE: Final = 8
"""Pages. Smaller commands gain nothing from a second thread: they hold the interpreter most of the time."""
_LARGEST: Final = 65
"""Pages. Fewer than these, where one command comes after the other, are done before a second thread helps."""
_LONG: Final = 256
"""Pages. While larger commands are at work a thread more listens: no page shall wait behind all of them."""
_ALONE: Final = 4
"""Commands in a row that came one by one: the next one will, too."""
_MOST_ALONE: Final = 8
_LOOK_NS: Final = 100_000
"""A host that faults page after page has the next command ready within a part of it."""
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""Neither end can take memory away from under the other."""


class Lane:
    """A lane of one session. `start` begins it; it ends by itself when its host goes away."""

    def __init__(
        self,
        ref: SessionRef,
        peer: socket.socket,
        geometry: Geometry,
        commands: LaneCommands,
        on_end: Callable[[Lane], None],
        *,
        name: str,
    ) -> None:
        """Make the memory and the bells, and hand them to the peer. The lane owns the socket from here on.

        Raises:
            OSError: no memory, no descriptors, or the peer is gone. The socket is closed.
        """
        self.ref = ref
        self.name = name
        self._peer = peer
        self._commands = commands
        self._on_end = on_end
        self._slots = geometry.slots
        self._submitted = self._completed = -1
        try:
            self._submitted = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._completed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            memory = os.memfd_create("cxldevd-lane", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                os.ftruncate(memory, geometry.segment_bytes)
                fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
                self._segment = Segment(mmap.mmap(memory, geometry.segment_bytes), geometry)
                fds = [memory, self._submitted, self._completed]
                socket.send_fds(peer, [pack_hello(geometry)], fds, socket.MSG_DONTWAIT)
            finally:
                os.close(memory)
        except OSError:
            self._close_descriptors()
            raise
        self._poll = select.poll()
        self._poll.register(self._submitted, select.POLLIN)
        self._poll.register(peer, select.POLLIN)
        self._patience = Patience(_LOOK_NS)
        self._kept = False
        """Whether the last command was done without passing the turn."""
        self._prompt = False
        """Whether the bell had rung already when it was looked for."""
        self._alone = 0
        """How far commands come one by one: up by 1 with each that does, halved by each that does not."""
        self._crew: Crew[Heard] = Crew(self._one_more_thread, most=self._slots + 1)
        self._lock = self._crew.lock
        self._closed = self._mute = False
        self._rung = self._taken = self._answered = 0
        self._waiting: dict[LaneCaller, Callable[[], None]] = {}
        self._ended = threading.Event()

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Answer commands."""
        self._crew.begin()

    def close(self, why: str) -> None:
        """End it: the host is told by its socket; commands under way are let go. Never waits."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._crew.dismiss()
            waiting = list(self._waiting.values())
        log_event("lane_closed", lane=self.name, why=why)
        with contextlib.suppress(OSError):  # the peer has closed it already
            self._peer.shutdown(socket.SHUT_RDWR)
        for ring in waiting:
            ring()

    def hang_up(self, why: str) -> None:
        """As `close`; and the host hears nothing more of any command, as if the cable were pulled."""
        self._mute = True
        self.close(why)

    def unstick(self) -> None:
        """Free a thread that is stuck ringing a bell which the host filled to the brim. For closed lanes."""
        with self._lock:
            if self._crew.threads:
                _strokes(self._completed)

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait until the last thread is gone and all is given back. Returns whether it is."""
        return self._ended.wait(timeout_s)

    def _close_descriptors(self) -> None:
        for descriptor in (self._submitted, self._completed):
            if descriptor >= 0:
                os.close(descriptor)
        self._peer.close()

    # -- threads --------------------------------------------------------------------------------

    def _one_more_thread(self) -> None:
        threading.Thread(target=self._serve, name="cxldevd-lane", daemon=True).start()

    def _serve(self) -> None:
        turn = Turn(None)
        try:
            while True:
                if not turn.held:
                    put_off = self._crew.next()
                    if put_off is not None:
                        self._answer(*put_off, turn)
                        continue
                    turn = Turn(self._crew)
                slot = self._next()
                if slot is None:
                    return
                self._hear(slot, turn)
        except (LaneBroken, OSError) as error:
            self.close(str(error))
        finally:
            turn.give_up()
            self._leave()

    def _leave(self) -> None:
        if not self._crew.leave():
            return
        self._segment.close()
        self._close_descriptors()
        self._on_end(self)
        self._ended.set()

    # -- commands -------------------------------------------------------------------------------

    def _next(self) -> int | None:
        """The slot of the next command; None when the lane is closed. Needs the turn.

        Raises:
            LaneBroken: the host rang more often than it has slots, or named one that is not there.
        """
        while self._taken == self._rung:
            events = self._poll.poll(0) if self._kept else []
            self._prompt = bool(events)
            events = events or self._look() or self._poll.poll()
            if self._closed:
                return None
            # The host has nothing more to say on its socket: whatever happens there is its end.
            if len(events) > 1 or events[0][0] != self._submitted:
                self.close("the host is gone")
                return None
            self._rung += _strokes(self._submitted)
            if self._rung - self._answered > self._slots:
                raise LaneBroken(f"the host rang for more commands than its {self._slots} slots")
        if self._closed:
            return None
        slot = self._segment.submissions[self._taken % self._slots]
        if slot >= self._slots:
            raise LaneBroken(f"the host named slot {slot} of {self._slots}")
        self._taken += 1
        return slot

    def _look(self) -> list[tuple[int, int]]:
        """Behind a small command, the next one is often close. One lane at a time looks for it."""
        if not self._kept or not self._commands.looking.acquire(blocking=False):
            return []
        try:
            return self._patience.look(self._poll)
        finally:
            self._commands.looking.release()

    def _hear(self, slot: int, turn: Turn) -> None:
        """Answer it, or leave it to another thread."""
        number, command = self._taken, self._segment.command(slot)
        last = self._taken == self._rung
        alone = last and not self._prompt and self._rung - self._answered == 1
        self._alone = min(self._alone + 1, _MOST_ALONE) if alone else self._alone // 2
        large = command.count >= (_LARGEST if self._alone > _ALONE else _LARGE)
        self._kept = last and not large
        if large and self._crew.put_off((slot, number, command)):
            return
        if not self._kept:
            turn.give_up(at_once=command.count > _LONG)
        self._answer(slot, number, command, turn)

    def _answer(self, slot: int, number: int, command: Command, turn: Turn) -> None:
        caller = LaneCaller(self, slot, turn, number)
        try:
            self._commands.carry_out(self._segment, slot, command, self.ref, caller)
        finally:
            if caller.waited:
                self.forget(caller)
        if self._mute:
            return
        with self._lock:
            self._segment.completions[self._answered % self._slots] = slot
            self._answered += 1
        try:
            os.eventfd_write(self._completed, 1)
        except BlockingIOError:
            raise LaneBroken("the host filled its own bell to the brim") from None

    # -- who waits for an answer ----------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether nobody waits for answers any more."""
        return self._closed

    def waits(self, slot: int) -> bool:
        """Whether the host still waits for the answer in this slot."""
        return not self._closed and not self._segment.withdrawn(slot)

    def remember(self, caller: LaneCaller, callback: Callable[[], None]) -> bool:
        """Call this when the lane is closed before the command has ended. False: it is closed."""
        with self._lock:
            if self._closed:
                return False
            if caller not in self._waiting:
                self._crew.wait()
            self._waiting[caller] = callback
            return True

    def forget(self, caller: LaneCaller) -> None:
        """The command has ended."""
        with self._lock:
            if self._waiting.pop(caller, None) is not None:
                self._crew.go_on()


class Turn:
    """The right to wait for the bell, which one thread has, until it gives it up."""

    def __init__(self, crew: Crew[Heard] | None) -> None:
        """None: nobody's turn."""
        self._crew = crew

    @property
    def held(self) -> bool:
        """Whether it was not given up."""
        return self._crew is not None

    def give_up(self, *, at_once: bool = False) -> None:
        """Pass it on, as `Crew.hand_on`; nothing happens the second time."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.hand_on(at_once=at_once)


class LaneCaller:
    """The host behind one command: a `Caller`. Who asks to be told when it goes is about to wait."""

    __slots__ = ("_lane", "_number", "_slot", "_turn", "waited")

    def __init__(self, lane: Lane, slot: int, turn: Turn, number: int) -> None:
        self._lane = lane
        self._number = number
        self._slot = slot
        self._turn = turn
        self.waited = False
        """Whether its command asked to be told, and so has to be forgotten."""

    @property
    def request_id(self) -> str:
        """What the logs of both ends call the command."""
        return command_id(self._lane.name, self._number)

    def hang_up(self, why: str) -> None:
        """Close the lane, as a fault may ask for."""
        self._lane.hang_up(why)

    def is_active(self) -> bool:
        """Whether the lane is open and the command was not withdrawn."""
        return self._lane.waits(self._slot)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Tell when the lane closes, and let another thread wait for the bell meanwhile."""
        self._turn.give_up()
        self.waited = True
        return self._lane.remember(self, callback)


def _strokes(bell: int) -> int:
    """How often an eventfd was rung since it was last asked; 0 if it was not.

    `os.eventfd_read` would wait where the host made the descriptor blocking and emptied it meanwhile: both
    ends share its flags. This never waits.
    """
    counter = bytearray(8)
    try:
        os.preadv(bell, [counter], -1, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return 0
        raise
    return int.from_bytes(counter, "little")
