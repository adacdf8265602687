"""FaultService and OracleService: what operators may do and see, and hosts may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramwire.v1 import operator_pb2
from cxldev.events import Missed
from cxldevd import fault_messages, from_wire, to_wire
from cxldevd.watching import Started, watch_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from cxldevd.losses import Losses
    from cxldevd.runtime import Runtime
    from cxldevd.slots import Slots


class FaultCalls:
    """Arms and clears faults."""

    def __init__(self, runtime: Runtime, losses: Losses) -> None:
        self._runtime = runtime
        self._losses = losses

    def inject_fault(
        self, request: operator_pb2.InjectFaultRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.InjectFaultResponse:
        """Arm a fault, or do what is done at once."""
        fault = fault_messages.fault(request.fault)
        with self._runtime.device() as (device, now_ns):
            done = device.inject(fault, now_ns, next_generation=self._runtime.ids.generation())
            telemetry = device.telemetry(None, now_ns)
        # It may ramp, or end by itself.
        self._runtime.expect(now_ns)
        return operator_pb2.InjectFaultResponse(
            fault_id=done.fault_id, dpas=done.dpas, telemetry=to_wire.telemetry(telemetry)
        )

    def clear_faults(
        self, request: operator_pb2.ClearFaultsRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.ClearFaultsResponse:
        """Clear one fault, or all."""
        fault_id = request.fault_id or None
        with self._runtime.device() as (device, now_ns):
            armed = {one.fault_id for one in device.status(now_ns).faults}
            cleared = device.clear(fault_id, now_ns)
            telemetry = device.telemetry(None, now_ns)
        self._losses.cleared(armed if fault_id is None else {fault_id}, everything=fault_id is None)
        return operator_pb2.ClearFaultsResponse(cleared=cleared, telemetry=to_wire.telemetry(telemetry))

    def list_faults(
        self, _request: operator_pb2.ListFaultsRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.ListFaultsResponse:
        """What is armed."""
        with self._runtime.device() as (device, now_ns):
            armed = device.status(now_ns).faults
        return operator_pb2.ListFaultsResponse(
            faults=[fault_messages.armed_fault(one, self._runtime.wall_ns) for one in armed]
        )


class OracleCalls:
    """Tells what no host may know."""

    def __init__(self, runtime: Runtime, watchers: Slots) -> None:
        self._runtime = runtime
        self._watchers = watchers

    def get_status(
        self, _request: operator_pb2.GetStatusRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.GetStatusResponse:
        """Everything, in one consistent reading."""
        with self._runtime.device() as (device, now_ns):
            status, origin = device.status(now_ns), self._runtime.origin
        return to_wire.status(status, self._runtime.config, origin, self._runtime.wall_ns)

    def describe_pages(
        self, request: operator_pb2.DescribePagesRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.DescribePagesResponse:
        """What the media holds for these pages."""
        with self._runtime.device() as (device, _):
            pages = device.describe(request.host, from_wire.addresses(request.dpas))
        return operator_pb2.DescribePagesResponse(pages=[to_wire.page(page) for page in pages])

    def watch_all_events(
        self, request: operator_pb2.WatchAllEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[operator_pb2.WatchAllEventsResponse]:
        """Events of all regions, and of the operator."""
        after = request.after_sequence if request.HasField("after_sequence") else None
        with self._watchers.one():
            for item in watch_all(self._runtime, after, context):
                if isinstance(item, Started):
                    yield operator_pb2.WatchAllEventsResponse(started=to_wire.started(item))
                elif isinstance(item, Missed):
                    yield operator_pb2.WatchAllEventsResponse(missed=to_wire.missed(item))
                else:
                    yield operator_pb2.WatchAllEventsResponse(
                        event=to_wire.event(item, self._runtime.wall_ns)
                    )
