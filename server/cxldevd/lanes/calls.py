"""LaneService: how a host asks for a lane. Served only where there is a door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramwire.v1 import lane_pb2
from cxldevd import from_wire

if TYPE_CHECKING:
    import grpc

    from cxldevd.calls import Service
    from cxldevd.lanes.door import Door


class LaneCalls:
    """The one call."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def open_lane(
        self, request: lane_pb2.OpenLaneRequest, context: grpc.ServicerContext
    ) -> lane_pb2.OpenLaneResponse:
        """A token for a lane of a session."""
        token = self._door.open_lane(from_wire.session(request), context)
        return lane_pb2.OpenLaneResponse(socket=self._door.socket_name, token=token)


def lane_service(service: Service, calls: LaneCalls) -> Service:
    """Runs on the control threads."""
    pb = lane_pb2
    service.unary(
        "OpenLane", calls.open_lane, pb.OpenLaneRequest.FromString, pb.OpenLaneResponse.SerializeToString
    )
    return service
