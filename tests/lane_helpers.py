"""MemoryService over other roads in the shape of its gRPC stub: so that the same tests run over all."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import grpc

from cramagent.roads import GrpcRoad, LaneRoad, Road, lane_of
from cramagent.transfer_road import TransferRoad
from cramwire.v1 import memory_pb2, memory_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_TIMEOUT_S = 30.0


class _Method:
    """One method, called as the stub's is. `future` stays with gRPC: a lane has no need of it."""

    def __init__(self, call: Callable[[Any, float], Any], over_grpc: Any) -> None:
        self._call = call
        self.future = over_grpc.future

    def __call__(self, request: Any, timeout: float = _TIMEOUT_S) -> Any:
        """Make the call, and wait."""
        return self._call(request, timeout)


class RoadStub:
    """Makes each call on the road that `_road` gives."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._grpc = GrpcRoad(channel)
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        self.Write = _Method(self._write, stub.Write)
        self.Read = _Method(self._read, stub.Read)
        self.Trim = _Method(self._trim, stub.Trim)
        self.Flush = _Method(self._flush, stub.Flush)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError

    def _road(self, request: Any) -> Road:
        raise NotImplementedError

    def _write(self, request: memory_pb2.WriteRequest, timeout: float) -> memory_pb2.WriteResponse:
        return self._road(request).write(request, list(request.dpas), request.data, timeout=timeout)

    def _read(self, request: memory_pb2.ReadRequest, timeout: float) -> memory_pb2.ReadResponse:
        got: list[bytes] = []

        def take(data: bytes | memoryview) -> None:
            got.append(bytes(data))

        device_ns = self._road(request).read(request, list(request.dpas), take, timeout=timeout)
        return memory_pb2.ReadResponse(data=got[0], device_ns=device_ns)

    def _trim(self, request: memory_pb2.TrimRequest, timeout: float) -> memory_pb2.TrimResponse:
        ranges = [(one.start, one.length) for one in request.ranges]
        return self._road(request).trim(request, ranges, timeout=timeout)

    def _flush(self, request: memory_pb2.FlushRequest, timeout: float) -> memory_pb2.FlushResponse:
        return self._road(request).flush(request, timeout=timeout)


class LaneStub(RoadStub):
    """Opens a lane for each session that it is asked about, if the device gives one."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        super().__init__(channel)
        self._channel, self._address = channel, address
        self._lanes: dict[tuple[str, str], LaneRoad] = {}

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for lane in self._lanes.values():
                stack.callback(lane.close)

    def _road(self, request: Any) -> Road:
        key = (request.session, request.generation)
        if key not in self._lanes:
            try:
                lane = lane_of(self._channel, self._address, request, _TIMEOUT_S)
            except grpc.RpcError:  # no such session, say: the call itself shall tell
                return self._grpc
            self._lanes[key] = LaneRoad(lane, request, self._grpc)
        return self._lanes[key]


class TransferStub(RoadStub):
    """On calls that stay open."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._transfers = TransferRoad(channel, self._grpc)

    def __exit__(self, *_: object) -> None:
        self._transfers.close()

    def _road(self, request: Any) -> Road:
        del request
        return self._transfers
