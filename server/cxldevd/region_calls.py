"""RegionService: operators change regions while their hosts use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramwire.v1 import operator_pb2
from cxldevd import to_wire

if TYPE_CHECKING:
    import grpc

    from cramwire.v1 import types_pb2
    from cxldev.telemetry import Telemetry
    from cxldevd.runtime import Runtime


class RegionCalls:
    """Dynamic capacity, and live shares."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_capacity(
        self, request: operator_pb2.AddCapacityRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.AddCapacityResponse:
        """Grow a region."""
        with self._runtime.device() as (device, now_ns):
            telemetry = device.capacity.add(request.host, request.length_bytes, now_ns)
        return operator_pb2.AddCapacityResponse(region=_region(telemetry))

    def release_capacity(
        self, request: operator_pb2.ReleaseCapacityRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.ReleaseCapacityResponse:
        """Ask for the end of a region back."""
        forced = request.HasField("force_after_ns")
        with self._runtime.device() as (device, now_ns):
            telemetry = device.capacity.release(
                request.host,
                request.length_bytes,
                now_ns,
                force_after_ns=request.force_after_ns if forced else None,
            )
        if forced:
            self._runtime.expect(now_ns + request.force_after_ns)
        return operator_pb2.ReleaseCapacityResponse(region=_region(telemetry))

    def share_media(
        self, request: operator_pb2.ShareMediaRequest, _context: grpc.ServicerContext
    ) -> operator_pb2.ShareMediaResponse:
        """Change guarantee and limit."""
        guaranteed, limited = (
            request.HasField("guaranteed_media_bytes"),
            request.HasField("limit_media_bytes"),
        )
        with self._runtime.device() as (device, now_ns):
            telemetry = device.capacity.share(
                request.host,
                now_ns,
                guaranteed_media_bytes=request.guaranteed_media_bytes if guaranteed else None,
                limit_media_bytes=request.limit_media_bytes if limited else None,
            )
        return operator_pb2.ShareMediaResponse(region=_region(telemetry))


def _region(telemetry: Telemetry) -> types_pb2.RegionTelemetry:
    assert telemetry.region is not None, "it was asked for with a region"
    return to_wire.region(telemetry.region)
