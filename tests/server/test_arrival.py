"""Time as calls see it: a Renew is judged by its arrival, and the wall clock is asked when it is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from cramwire.v1 import device_pb2
from cxldev.config import DeviceConfig
from cxldev.errors import LeaseExpired
from cxldev.outcomes import SessionRef
from cxldevd.clock import ManualClock
from cxldevd.ids import Ids
from cxldevd.runtime import Runtime
from server_helpers import DEADLINE_S, MIB, PAGE, SECOND

if TYPE_CHECKING:
    from server_helpers import Bench, Host


class Renewals(list[int]):
    """Stamps of Renews; tells when there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()

    def append(self, stamp: int) -> None:
        """One has arrived."""
        super().append(stamp)
        self.arrived.set()


class Desk:
    """A runtime without a service, and one session with a lease of 10 s."""

    def __init__(self) -> None:
        self.clock = ManualClock(now_ns=SECOND)
        self.runtime = Runtime(DeviceConfig(physical_capacity_bytes=MIB), self.clock, Ids(1))
        with self.runtime.device() as (device, now_ns):
            made = device.attach(session="s", host="a", logical_bytes=PAGE, now_ns=now_ns)
        self.ref = SessionRef(made.session, made.generation)

    def renew(self) -> int:
        """Renew, as a Renew does."""
        with self.runtime.renewal(), self.runtime.device() as (device, now_ns):
            return device.renew(self.ref, now_ns).lease_ns

    def look(self) -> str:
        """Any other call of the session."""
        with self.runtime.device() as (device, now_ns):
            return device.host_of(self.ref, now_ns)


@pytest.fixture
def desk() -> Desk:
    """A runtime and a session."""
    return Desk()


@pytest.fixture
def lasting(bench: Bench) -> Host:
    """A host with a lease of 10 s."""
    return bench.attach()


def test_a_renew_that_waited_past_the_lease_is_in_time(desk: Desk) -> None:
    """It arrived before the lease ran out; the device was busy with something else."""
    renewals = desk.runtime._renewals = Renewals()
    with ThreadPoolExecutor(1) as pool:
        desk.clock.advance(5 * SECOND)
        with desk.runtime.device():
            renewed = pool.submit(desk.renew)
            assert renewals.arrived.wait(DEADLINE_S)
            desk.clock.advance(6 * SECOND)
        assert renewed.result(DEADLINE_S) == 10 * SECOND
    assert desk.look() == "a"
    # The lease runs from the arrival: the host counts from when it sent.
    desk.clock.advance(4 * SECOND)
    with pytest.raises(LeaseExpired):
        desk.look()


def test_a_renew_that_arrives_late_is_late(desk: Desk) -> None:
    """The lease had run out, whether or not anybody had looked."""
    desk.clock.advance(10 * SECOND)
    with pytest.raises(LeaseExpired):
        desk.renew()


def test_no_other_call_ends_a_lease_before_a_waiting_renew(desk: Desk) -> None:
    """Locks are not fair: a call that came later, when the lease had run out, may have the device first."""
    desk.clock.advance(5 * SECOND)
    with desk.runtime.renewal():
        desk.clock.advance(6 * SECOND)
        assert desk.look() == "a"
        assert desk.renew() == 10 * SECOND
    assert desk.look() == "a"


def test_a_broken_clock_leaves_the_lock_free(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails before a call has the device must not keep it from others."""

    def fail(_self: object) -> int:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(ManualClock, "now_ns", fail)
        with pytest.raises(OSError):
            desk.look()
    assert desk.look() == "a"


def test_events_are_told_in_the_time_of_the_wall_clock(bench: Bench, lasting: Host) -> None:
    """As it is set when they are told: NTP moved it since the service began."""
    bench.clock.set_wall(bench.clock.wall_ns() - 3600 * SECOND)
    stream = lasting.watch(after=0)
    next(stream)
    assert next(stream).event.wall_time_ns == bench.clock.wall_ns()
    stream.cancel()


def test_a_renew_over_the_wire_is_judged_by_its_arrival(bench: Bench, lasting: Host) -> None:
    """It waits for the device while the lease runs out."""
    bench.clock.advance(5 * SECOND)
    renewals = Renewals()
    bench.service.runtime._renewals = renewals
    with bench.service.runtime.device():
        renew: Any = bench.device.Renew.future(device_pb2.RenewRequest(**lasting.ref), timeout=DEADLINE_S)
        assert renewals.arrived.wait(DEADLINE_S)
        bench.clock.advance(6 * SECOND)
    assert renew.result().lease_ns == 10 * SECOND
