"""DeviceService: the control path of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramwire.v1 import device_pb2
from cxldev.credits import CreditRequest
from cxldev.events import Missed
from cxldev.faults import Operation
from cxldevd import from_wire, to_wire
from cxldevd.watching import Started, watch_region

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from cxldevd.attach_rate import AttachRate
    from cxldevd.control_path import ControlPath
    from cxldevd.runtime import Runtime
    from cxldevd.slots import Slots


class DeviceCalls:
    """Sessions, telemetry, events."""

    def __init__(self, runtime: Runtime, control: ControlPath, watchers: Slots, attaches: AttachRate) -> None:
        self._runtime = runtime
        self._attaches = attaches
        self._control = control
        self._watchers = watchers

    def identify(
        self, _request: device_pb2.IdentifyRequest, context: grpc.ServicerContext
    ) -> device_pb2.IdentifyResponse:
        """What the device is."""
        with self._control.taken_up(Operation.IDENTIFY, "", context), self._runtime.device() as (device, _):
            generation, origin = device.generation, self._runtime.origin
        return to_wire.identity(self._runtime.config, generation, origin)

    def attach(
        self, request: device_pb2.AttachRequest, context: grpc.ServicerContext
    ) -> device_pb2.AttachResponse:
        """Give a host a region and a session."""
        self._attaches.admit(request.host, self._runtime.clock.now_ns())
        has_limit, has_lease = request.HasField("limit_media_bytes"), request.HasField("lease_ns")
        with self._control.taken_up(Operation.ATTACH, request.host, context):
            with self._runtime.device() as (device, now_ns):
                made = device.attach(
                    session=self._runtime.ids.session(),
                    host=request.host,
                    logical_bytes=request.logical_bytes,
                    guaranteed_media_bytes=request.guaranteed_media_bytes,
                    limit_media_bytes=request.limit_media_bytes if has_limit else None,
                    lease_ns=request.lease_ns if has_lease else None,
                    take_over=request.take_over,
                    now_ns=now_ns,
                )
            # Also if the host never hears of it.
            self._runtime.expect(now_ns + made.lease_ns)
        return device_pb2.AttachResponse(
            session=made.session,
            generation=made.generation,
            lease_ns=made.lease_ns,
            telemetry=to_wire.telemetry(made.telemetry),
        )

    def renew(
        self, request: device_pb2.RenewRequest, context: grpc.ServicerContext
    ) -> device_pb2.RenewResponse:
        """Start the lease anew."""
        ref = from_wire.session(request)
        taken_up = self._control.taken_up(Operation.RENEW, ref, context)
        with taken_up, self._runtime.renewal(), self._runtime.device() as (device, now_ns):
            renewed = device.renew(ref, now_ns)
        return device_pb2.RenewResponse(
            lease_ns=renewed.lease_ns, telemetry=to_wire.telemetry(renewed.telemetry)
        )

    def resize(
        self, request: device_pb2.ResizeRequest, context: grpc.ServicerContext
    ) -> device_pb2.ResizeResponse:
        """Grow or shrink the region."""
        ref = from_wire.session(request)
        taken_up = self._control.taken_up(Operation.RESIZE, ref, context)
        with taken_up, self._runtime.device() as (device, now_ns):
            telemetry = device.resize(ref, request.logical_bytes, now_ns)
        return device_pb2.ResizeResponse(telemetry=to_wire.telemetry(telemetry))

    def grant_credits(
        self, request: device_pb2.GrantCreditsRequest, context: grpc.ServicerContext
    ) -> device_pb2.GrantCreditsResponse:
        """Promise media to writable pages."""
        wanted = CreditRequest(
            number=request.number,
            writable_pages=request.writable_pages,
            unspent=request.unspent_credits,
            wanted=request.wanted_credits,
        )
        ref = from_wire.session(request)
        taken_up = self._control.taken_up(Operation.CREDITS, ref, context)
        with taken_up, self._runtime.device() as (device, now_ns):
            grant = device.grant_credits(ref, wanted, now_ns)
        return device_pb2.GrantCreditsResponse(
            granted_credits=grant.granted, telemetry=to_wire.telemetry(grant.telemetry)
        )

    def detach(
        self, request: device_pb2.DetachRequest, context: grpc.ServicerContext
    ) -> device_pb2.DetachResponse:
        """End the session."""
        ref = from_wire.session(request)
        taken_up = self._control.taken_up(Operation.DETACH, ref, context)
        with taken_up, self._runtime.device() as (device, now_ns):
            released = device.detach(ref, now_ns)
        return device_pb2.DetachResponse(released_media_bytes=released)

    def get_telemetry(
        self, request: device_pb2.GetTelemetryRequest, context: grpc.ServicerContext
    ) -> device_pb2.GetTelemetryResponse:
        """The device's totals and the caller's region."""
        ref = from_wire.session(request)
        taken_up = self._control.taken_up(Operation.TELEMETRY, ref, context)
        with taken_up, self._runtime.device() as (device, now_ns):
            telemetry = device.telemetry(ref, now_ns)
        return device_pb2.GetTelemetryResponse(telemetry=to_wire.telemetry(telemetry))

    def watch_events(
        self, request: device_pb2.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[device_pb2.WatchEventsResponse]:
        """Events of the device and of the caller's region."""
        after = request.after_sequence if request.HasField("after_sequence") else None
        ref = from_wire.session(request)
        with self._runtime.device() as (device, now_ns):
            host = device.host_of(ref, now_ns)
        with self._watchers.one(host):
            for item in watch_region(self._runtime, self._control, ref, after, context):
                if isinstance(item, Started):
                    yield device_pb2.WatchEventsResponse(started=to_wire.started(item))
                elif isinstance(item, Missed):
                    yield device_pb2.WatchEventsResponse(missed=to_wire.missed(item))
                else:
                    yield device_pb2.WatchEventsResponse(
                        event=to_wire.event(item.event, self._runtime.wall_ns),
                        previous_sequence=item.previous_sequence,
                    )
