"""Commands whose host is to hear nothing: the device says which, and here it happens to the call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cxldev.errors import CommandLost, ConnectionDropped
from cxldevd.pools import parked
from cxldevd.waiting import CallerGone, ring_when_gone
from cxldevd.wake import Wake

if TYPE_CHECKING:
    from cxldevd.connections import Connections
    from cxldevd.runtime import Runtime
    from cxldevd.waiting import Caller

_LOOK_NS: Final = 50_000_000
"""A host on a lane gives a command up without a sound: it is looked after so often."""
_HANG_UP_NS: Final = 5_000_000_000
"""gRPC notices at once that a connection is gone; a busy machine may take a while to say so."""


class AnswerLost(Exception):
    """The fault that kept an answer was cleared by the operator, or the service ends.

    It ends as a failure of the transport does: UNAVAILABLE without a reason. The command may have been
    carried out.
    """


class Losses:
    """All calls that are not answered. `happen` may be called by any thread."""

    def __init__(self, runtime: Runtime, connections: Connections) -> None:
        self._runtime = runtime
        self._connections = connections
        self._lock = threading.Lock()
        self._held: dict[Wake, str] = {}
        self._cleared: set[str] = set()

    @property
    def held(self) -> int:
        """Calls that wait in vain now."""
        return len(self._held)

    def happen(self, lost: CommandLost, caller: Caller) -> Exception:
        """Keep the answer from the caller, or its connection. What the call then ends with.

        Returns when the caller has given up or is gone, when the fault is cleared, or when the
        service drains.
        """
        clock = self._runtime.clock
        # What it set off, if it was carried out, is not slept past.
        self._runtime.expect(clock.now_ns())
        wake = Wake(clock)
        try:
            ring_when_gone(caller, wake)
        except CallerGone as gone:
            return gone
        if isinstance(lost, ConnectionDropped):
            self._connections.hang_up(caller, str(lost))
            with parked():
                wake.wait(0, clock.now_ns() + _HANG_UP_NS)
            return CallerGone()
        with self._lock:
            self._held[wake] = lost.fault_id
        try:
            with parked():
                return self._wait(lost, caller, wake)
        finally:
            with self._lock:
                del self._held[wake]

    def _wait(self, lost: CommandLost, caller: Caller, wake: Wake) -> Exception:
        clock = self._runtime.clock
        while caller.is_active():
            seen = wake.strokes
            if lost.fault_id in self._cleared:
                return AnswerLost(f"{lost}; it was cleared")
            if self._runtime.draining:
                return AnswerLost(f"{lost}; the service is shutting down")
            wake.wait(seen, clock.now_ns() + _LOOK_NS)
        return CallerGone()

    def cleared(self, fault_ids: set[str], *, everything: bool) -> None:
        """The operator cleared these faults: nobody waits in vain any more for what they kept.

        A fault that ended by itself (by its count or its time) leaves lost what it lost, until the
        operator clears `everything`.
        """
        with self._lock:
            self._cleared |= fault_ids
            if everything:
                self._cleared.update(self._held.values())
        self.look()

    def look(self) -> None:
        """Have all who wait look whether they still have to: the service drains, say."""
        with self._lock:
            for wake in self._held:
                wake.ring()
