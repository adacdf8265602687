"""What a control call goes through before it is carried out: faults may stall, refuse or lose it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cxldev.errors import DeviceError
from cxldev.faults import Operation
from cxldev.faults.loss import answered
from cxldevd.pools import parked
from cxldevd.waiting import CallerGone, ring_when_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxldev.control import Arrival
    from cxldev.device import Device
    from cxldev.outcomes import SessionRef
    from cxldevd.runtime import Runtime
    from cxldevd.waiting import Caller


class ControlPath:
    """The way of all control calls. Leases run on meanwhile."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @contextmanager
    def taken_up(self, operation: Operation, of: SessionRef | str, caller: Caller) -> Iterator[None]:
        """Around carrying a call out. `of`: its session or its host; empty where it has neither.

        Raises:
            DeviceError: a fault refuses the call.
            CommandLost: its host is to hear nothing; it was carried out if this was entered.
            DeviceBusy: the service drains while the call is stalled.
            CallerGone: its caller gave up while it was stalled: it is not carried out.
        """
        runtime = self._runtime
        with ExitStack() as in_time:
            if operation is Operation.RENEW:
                # Judged by when it arrived, unless the control path stalls: then by when it is taken up.
                in_time.enter_context(runtime.renewal())
            with runtime.device() as (device, now_ns):
                host = of if isinstance(of, str) else _host_of(device, of, now_ns)
                arrival = device.control.arrive(operation, host, now_ns)
                until_ns = device.control.stalled_until(arrival, now_ns)
            if until_ns is None or until_ns > now_ns:
                in_time.close()
                self._wait(arrival, caller)
            with answered(arrival.loss):
                yield

    def _wait(self, arrival: Arrival, caller: Caller) -> None:
        changed = self._runtime.changed
        ring_when_gone(caller, changed)
        with parked():
            while True:
                seen = changed.strokes
                with self._runtime.device() as (device, now_ns):
                    until_ns = device.control.stalled_until(arrival, now_ns)
                if until_ns is not None and until_ns <= now_ns:
                    return
                if not caller.is_active():
                    raise CallerGone
                self._runtime.refuse_if_draining()
                changed.wait(seen, until_ns)


def _host_of(device: Device, session: SessionRef, now_ns: int) -> str:
    try:
        return device.host_of(session, now_ns)
    except DeviceError:
        return ""  # it is over: the call itself says so, when it is carried out
