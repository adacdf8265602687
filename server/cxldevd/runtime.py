"""The device in a world of threads and time: one lock around it, and a timer that keeps its deadlines."""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxldev.device import Device
from cxldevd.errors import DeviceBusy
from cxldevd.log import log_event
from cxldevd.wake import Wake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxldev.config import DeviceConfig
    from cxldev.events import EventLog
    from cxldevd.clock import Clock
    from cxldevd.ids import Ids
    from cxldevd.state_keeper import StateKeeper

_AFTER_A_BUG_NS: Final = 1_000_000_000
"""How long the timer rests when the device fails it."""


@dataclass(slots=True)
class Power:
    """One power-on's events, and the power-on that came behind it. Who holds one can read on from it."""

    generation: str
    log: EventLog
    next: Power | None = None
    before: int = 0
    """Number of its last event that another process saw."""


class _Held(AbstractContextManager[tuple[Device, int]]):
    """The lock as a context. One for all: it knows nothing of who entered it, and costs no generator."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __enter__(self) -> tuple[Device, int]:
        return self._runtime.enter()

    def __exit__(self, *_: object) -> None:
        self._runtime.leave()


class Runtime:
    """Owns the device. Everybody reaches it through `device()`, one at a time.

    `changed` rings when there are new events, when the service drains, and when a waiting call is
    cancelled: whoever waits looks again.
    """

    def __init__(
        self, config: DeviceConfig, clock: Clock, ids: Ids, keeper: StateKeeper | None = None
    ) -> None:
        """A new device, or the one that `keeper` kept. Raises StateError."""
        self.config = config
        self.clock = clock
        self.ids = ids
        self.changed = Wake(clock)
        self.draining = False
        self._lock = threading.Lock()
        self._held = _Held(self)
        self._renewals: list[int] = []
        """When Renews arrived that wait for the lock, or hold it."""
        self._keeper = keeper
        if keeper is None:
            self._device = Device(config, generation=ids.generation(), now_ns=clock.now_ns())
            self._origin = "new"
        else:
            self._device, self._origin = keeper.first_device(config, ids.generation())
        log = self._device.events
        self._power = self._first = Power(self._device.generation, log, before=log.last_sequence)
        self._noticed = log.last_sequence
        self._timer_wake = Wake(clock)
        self._due_ns: int | None = None
        self._stopped = False
        self._timer = threading.Thread(target=self.keep_deadlines, name="cxldevd-timer", daemon=True)

    def device(self) -> AbstractContextManager[tuple[Device, int]]:
        """The device and the time, for one call, with the lock held. Keep it short: no I/O, no zstd.

        The time is that of the call's arrival, before it waited for the lock. It is no later than the
        arrival of any Renew that still waits: no other call lets a lease run out that one came in time
        to renew.
        """
        return self._held

    @contextmanager
    def renewal(self) -> Iterator[None]:
        """Entered by a Renew as soon as it has arrived, around its `device()`."""
        arrived_ns = self.clock.now_ns()
        self._renewals.append(arrived_ns)
        try:
            yield
        finally:
            self._renewals.remove(arrived_ns)

    def enter(self) -> tuple[Device, int]:
        """Take the lock: for `device()`."""
        now_ns = self.clock.now_ns()
        self._lock.acquire()
        # Nothing may fail from here on: nobody would give the lock back.
        if self._renewals:
            now_ns = min(now_ns, min(self._renewals, default=now_ns))
        return self._device, now_ns

    def leave(self) -> None:
        """Give the lock back. Refused calls may have told events, too: no more writes, a lease run out."""
        try:
            self._notice()
            if self._keeper is not None:
                self._keeper.before_answer(self._device)
        finally:
            self._lock.release()

    def _notice(self) -> None:
        log = self._device.events
        if log is not self._power.log:
            self._power.next = Power(self._device.generation, log)
            self._power = self._power.next
        elif log.last_sequence == self._noticed:
            return
        self._noticed = log.last_sequence
        self.changed.ring()

    @property
    def power(self) -> Power:
        """This power-on. Look at it inside `device()` only."""
        return self._power

    @property
    def origin(self) -> str:
        """How this power-on began, in one line. Look at it inside `device()` only."""
        return self._origin if self._power is self._first else "new: a reset"

    def wall_ns(self, now_ns: int) -> int:
        """Time since the epoch of a moment of the device's clock, by the wall clock as it is set now."""
        return now_ns + self.clock.wall_ns() - self.clock.now_ns()

    def refuse_if_draining(self) -> None:
        """For calls that wait.

        Raises:
            DeviceBusy: the service drains.
        """
        if self.draining:
            raise DeviceBusy("the service is shutting down; try again when it is back")

    # -- deadlines ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start to keep deadlines: leases and queued TRIMs."""
        self._timer.start()

    def expect(self, due_ns: int) -> None:
        """Something is due then: see that the timer does not sleep past it."""
        if self._due_ns is None or due_ns < self._due_ns:
            self._timer_wake.ring()

    def drain(self) -> None:
        """End all calls that wait. There is no way back."""
        self.draining = True
        self.changed.ring()

    def stop(self) -> None:
        """Stop the timer, which ends the runtime. Needs no call in flight."""
        self._stopped = True
        self._timer_wake.ring()
        if self._timer.is_alive():
            self._timer.join()

    def keep_deadlines(self) -> None:
        """Let what is due happen, until the runtime is stopped. `start` has a thread for it."""
        while not self._stopped:
            seen = self._timer_wake.strokes
            try:
                with self.device() as (device, now_ns):
                    self._due_ns = device.advance(now_ns)
            except Exception as error:  # noqa: BLE001 - without this thread no lease would ever run out again
                log_event("timer_failed", level=logging.ERROR, error=error)
                self._due_ns = self.clock.now_ns() + _AFTER_A_BUG_NS
            self._timer_wake.wait(seen, self._due_ns)
