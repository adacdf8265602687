"""Roads to MemoryService: gRPC's calls, always there, and a lane, for a host on the device's machine.

`cramagent.transfer` has a third: gRPC's calls that stay open. All raise `grpc.RpcError` where the device
says no; `read_refusal` reads any. A lane that is gone, or that has no room for a request, or belongs to
another session, is no error: the call takes the other road. All four calls may be repeated safely.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar, get_args

import grpc

from cramagent.lane import LaneClosed, open_lane
from cramwire.page_messages import (
    READ_METHOD,
    WRITE_METHOD,
    ReadPages,
    pack_dpas,
    put_read_request,
    put_write_request,
    take_read_response,
)
from cramwire.refusal import Refusal, Refused, read_refusal
from cramwire.v1 import lane_pb2, lane_pb2_grpc, memory_pb2, memory_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cramagent.lane import Lane
    from cramwire.lane import Answer

Buffer = bytes | bytearray | memoryview
R = TypeVar("R")

_FLUSHED_AT_ONCE: Final = 64 << 10
"""Bytes of pages that a socket takes whose reader stands still: Linux gives one 208 KiB."""

NO_ANSWER: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""What a call ends with where the device said nothing: asking again may help."""

Transport = Literal["auto", "grpc", "calls", "lane"]
TRANSPORTS: Final[tuple[Transport, ...]] = get_args(Transport)
"""auto: a lane where there is one. lane: attach fails where there is none. calls: gRPC, each command a call
by itself; grpc: on calls that stay open, where the device has them."""


class LaneUnavailable(Exception):
    """There is no lane to be had; the message says why."""


class Session(Protocol):
    """The two words that go with every call."""

    @property
    def session(self) -> str:
        """Which."""
        ...

    @property
    def generation(self) -> str:
        """Of which power-on."""
        ...


class Road(Protocol):
    """The four data calls. Times in s; `device_ns` is in the answers."""

    def write(
        self, session: Session, dpas: Sequence[int], data: Buffer, *, timeout: float
    ) -> memory_pb2.WriteResponse:
        """Store page i of `data` at `dpas[i]`."""
        ...

    def read(
        self,
        session: Session,
        dpas: Sequence[int],
        take: Callable[[bytes | memoryview], None],
        *,
        timeout: float,
    ) -> int:
        """Read pages; `take` gets them, good until it returns. The device time, ns."""
        ...

    def trim(
        self, session: Session, ranges: Sequence[tuple[int, int]], *, timeout: float
    ) -> memory_pb2.TrimResponse:
        """Give (start, length) up."""
        ...

    def flush(self, session: Session, *, timeout: float) -> memory_pb2.FlushResponse:
        """Wait for every TRIM before."""
        ...


class GrpcRoad:
    """The calls as messages."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._memory = memory_pb2_grpc.MemoryServiceStub(channel)
        # Pages go through without the stub's protobuf, which would copy them three times.
        self._write: grpc.UnaryUnaryMultiCallable[bytes, memory_pb2.WriteResponse] = channel.unary_unary(
            WRITE_METHOD,
            request_serializer=None,
            response_deserializer=memory_pb2.WriteResponse.FromString,
        )
        self._read: grpc.UnaryUnaryMultiCallable[bytes, ReadPages] = channel.unary_unary(
            READ_METHOD, request_serializer=None, response_deserializer=take_read_response
        )

    def write(
        self, session: Session, dpas: Sequence[int], data: Buffer, *, timeout: float
    ) -> memory_pb2.WriteResponse:
        """See `Road`."""
        request = put_write_request(session.session, session.generation, pack_dpas(dpas), (data,))
        if len(data) > _FLUSHED_AT_ONCE:
            return _in_time(self._write, request, timeout)
        return self._write(request, timeout=timeout)

    def read(
        self,
        session: Session,
        dpas: Sequence[int],
        take: Callable[[bytes | memoryview], None],
        *,
        timeout: float,
    ) -> int:
        """See `Road`."""
        request = put_read_request(session.session, session.generation, pack_dpas(dpas))
        said = self._read(request, timeout=timeout)
        take(said.data)
        return said.device_ns

    def trim(
        self, session: Session, ranges: Sequence[tuple[int, int]], *, timeout: float
    ) -> memory_pb2.TrimResponse:
        """See `Road`."""
        return self._memory.Trim(trim_request(session, ranges), timeout=timeout)

    def flush(self, session: Session, *, timeout: float) -> memory_pb2.FlushResponse:
        """See `Road`."""
        request = memory_pb2.FlushRequest(session=session.session, generation=session.generation)
        return self._memory.Flush(request, timeout=timeout)


def trim_request(session: Session, ranges: Sequence[tuple[int, int]]) -> memory_pb2.TrimRequest:
    """The message that gives (start, length) up."""
    return memory_pb2.TrimRequest(
        session=session.session,
        generation=session.generation,
        ranges=[types_pb2.DpaRange(start=start, length=length) for start, length in ranges],
    )


def _in_time(method: grpc.UnaryUnaryMultiCallable[bytes, R], request: bytes, timeout: float) -> R:
    """A call that keeps its deadline even while its request does not fit into the socket.

    A blocking one does not: gRPC returns from it when the request is flushed, and a device that stands
    still takes nothing out. This one costs a handover between threads, 0.2 ms.

    Raises:
        grpc.RpcError: the device said no, or nothing in time.
    """
    # The stubs know of `result` and `cancel` only on another type.
    call: Any = method.future(request, timeout=timeout)
    try:
        answer: R = call.result(timeout=timeout)
    except grpc.FutureTimeoutError:
        call.cancel()
        late = "the device did not answer in time"
        name: str = getattr(call, "request_id", "")
        refusal = Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, late, request_id=name)
        raise Refused(refusal) from None
    return answer


class LaneRoad:
    """The calls over the lane of one session, as long as that is open; else over `beside`."""

    def __init__(self, lane: Lane, session: Session, beside: Road) -> None:
        self._lane = lane
        self._session = session
        self._beside = beside

    @property
    def open(self) -> bool:
        """Whether calls still go over the lane."""
        return not self._lane.closed

    def close(self) -> None:
        """Give the lane back; calls go on beside it."""
        self._lane.close()

    def write(
        self, session: Session, dpas: Sequence[int], data: Buffer, *, timeout: float
    ) -> memory_pb2.WriteResponse:
        """See `Road`."""
        if self._takes(session, len(dpas), len(data)):
            try:
                answer = self._lane.begin_write(dpas, data, timeout).finish(timeout)
            except LaneClosed:
                pass
            else:
                return memory_pb2.WriteResponse(accepted_pages=answer.value, device_ns=answer.device_ns)
        return self._beside.write(session, dpas, data, timeout=timeout)

    def read(
        self,
        session: Session,
        dpas: Sequence[int],
        take: Callable[[bytes | memoryview], None],
        *,
        timeout: float,
    ) -> int:
        """See `Road`."""
        if self._takes(session, len(dpas)):
            try:
                return self._lane.begin_read(dpas, timeout).finish(timeout, take).device_ns
            except LaneClosed:
                pass
        return self._beside.read(session, dpas, take, timeout=timeout)

    def trim(
        self, session: Session, ranges: Sequence[tuple[int, int]], *, timeout: float
    ) -> memory_pb2.TrimResponse:
        """See `Road`."""
        if self._takes(session, 2 * len(ranges)):
            try:
                answer = self._lane.begin_trim(ranges, timeout).finish(timeout)
            except LaneClosed:
                pass
            else:
                return memory_pb2.TrimResponse(trimmed_pages=answer.value, device_ns=answer.device_ns)
        return self._beside.trim(session, ranges, timeout=timeout)

    def flush(self, session: Session, *, timeout: float) -> memory_pb2.FlushResponse:
        """See `Road`."""
        if self._takes(session, 0):
            try:
                answer: Answer = self._lane.begin_flush(timeout).finish(timeout)
            except LaneClosed:
                pass
            else:
                return memory_pb2.FlushResponse(released_media_bytes=answer.value, device_ns=answer.device_ns)
        return self._beside.flush(session, timeout=timeout)

    def _takes(self, session: Session, addresses: int, data_bytes: int = 0) -> bool:
        ours = (session.session, session.generation) == (self._session.session, self._session.generation)
        return ours and not self._lane.closed and self._lane.fits(addresses, data_bytes)


def answers(road: Road, session: Session, timeout_s: float) -> bool:
    """Whether a road leads to a device that says anything: it is sent a TRIM of nothing, which it refuses."""
    try:
        road.trim(session, (), timeout=timeout_s)
    except grpc.RpcError as error:
        return read_refusal(error).code not in NO_ANSWER
    return True


def lane_of(channel: grpc.Channel, address: str, session: Session, timeout_s: float) -> Lane:
    """Open a lane of a session, all within the time. `address` is where the channel leads.

    Raises:
        grpc.RpcError: the device said no; UNIMPLEMENTED where it has no lanes.
        LaneUnavailable: the address is no unix socket, or the lane's socket cannot be reached from here.
    """
    if not address.startswith("unix:"):
        raise LaneUnavailable(f"{address} is no unix socket")
    until = monotonic() + timeout_s
    request = lane_pb2.OpenLaneRequest(session=session.session, generation=session.generation)
    told = lane_pb2_grpc.LaneServiceStub(channel).OpenLane(request, timeout=timeout_s)
    beside = Path(address.removeprefix("unix:").removeprefix("//"))
    path = beside.with_name(Path(told.socket).name)
    try:
        return open_lane(str(path), told.token, until - monotonic())
    except (OSError, LaneClosed) as error:
        raise LaneUnavailable(f"{path}: {error}") from error
