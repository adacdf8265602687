"""The wire, as the host uses it: pages out, pages in, sessions, events.

Every data call is split to the device's limits, repeated while the device does not answer (`asking`), and
ends in a `NodeStatus`; no gRPC error leaves this file except as `NodeRefused` or `NodeSilent` from
the control calls.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from cramagent.asking import Asker
from cramagent.channel import open_channel
from cramagent.clock import SYSTEM_CLOCK
from cramagent.log import SESSION_CHARS, log_event
from cramagent.named_channel import NamedChannel
from cramagent.policy.effects import NodeLoaded, NodeStatus, NodeTrimmed, NodeWritten
from cramagent.policy.settings import PAGE_BYTES
from cramagent.refusals import NodeSilent, NoLane, node_status, unanswered
from cramagent.roads import GrpcRoad, LaneRoad, LaneUnavailable, answers, lane_of
from cramagent.transfer_road import TransferRoad
from cramwire.refusal import Refusal, read_refusal
from cramwire.v1 import device_pb2, device_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cramagent.clock import Clock
    from cramagent.roads import Road, Transport
    from cramwire.otel import Traces

T = TypeVar("T")

_CLOSE_S: Final = 1.0
"""A channel has so long to close; what is left of it then goes with the process."""


@dataclass(frozen=True, slots=True)
class Session:
    """One attachment: the two words that go with every call."""

    session: str
    generation: str
    lease_ns: int


@dataclass(frozen=True, slots=True)
class Region:
    """What the agent asks for when it attaches. Sizes in bytes."""

    host: str
    logical_bytes: int
    guaranteed_bytes: int = 0
    limit_bytes: int | None = None
    lease_ns: int | None = None


def _connecting(call: Callable[..., T]) -> Callable[..., T]:
    """A call that waits for the connection, and so makes it.

    gRPC polls a connection that is being made on the threads that wait in calls (see `tune_grpc`), and any
    other call fails at once while there is none. If only such calls were made, a device that was
    restarted and is a little slow to say that it speaks HTTP/2 would never be heard.
    """
    return partial(call, wait_for_ready=True)


class NodeClient:
    """A channel to one device. The calls may be made from several threads; the session is given with each."""

    def __init__(
        self,
        address: str,
        timeout_ns: int,
        transport: Transport = "auto",
        *,
        channel: grpc.Channel | None = None,
        clock: Clock = SYSTEM_CLOCK,
        traces: Traces | None = None,
    ) -> None:
        """`channel`: an open one to that address, which is closed with this; None: open one."""
        self.traces: Final = traces
        self.address: Final = address
        self._transport = transport
        self.channel: Final = NamedChannel(channel or open_channel(address), traces)
        self._clock = clock
        self._device = device_pb2_grpc.DeviceServiceStub(self.channel)
        calls = GrpcRoad(self.channel)
        # A span goes with a call's metadata: where calls are traced, each is one by itself.
        alone = transport == "calls" or traces is not None
        self._transfers = None if alone else TransferRoad(self.channel, calls)
        self._grpc: Road = self._transfers or calls
        self._lane: LaneRoad | None = None
        self._pages_per_request = self._ranges_per_trim = 1
        self.device_ns: Final[dict[str, int]] = {"write": 0, "read": 0, "trim": 0, "flush": 0}
        """Device time of the data calls, by operation: what the device says that they would have taken."""
        self._counting = Lock()
        self.refused_telemetry: types_pb2.Telemetry | None = None
        """What the last refused write said about the device; the main loop takes it away."""
        self.largest_bytes = 0
        """The largest that our region ever was, as far as we were told."""
        self._asker = Asker({"device": address}, timeout_ns, clock)

    def close(self) -> None:
        """End waiting and close the channel."""
        self._asker.close()
        self._leave_lane()
        if self._transfers is not None:
            self._transfers.close()
        # It waits for requests that are cancelled and stuck in a socket whose reader stands still.
        self._clock.start("channel-close", self.channel.close).join(_CLOSE_S)

    @property
    def transport(self) -> str:
        """How pages travel now: `lane` or `grpc`."""
        return "lane" if self._lane is not None and self._lane.open else "grpc"

    @property
    def facts(self) -> dict[str, Any]:
        """What goes with every log line about this node."""
        return self._asker.facts

    @property
    def gone_reason(self) -> str:
        """The wire's reason why the last call met no session."""
        return self._asker.gone_reason

    # -- control ----------------------------------------------------------------------------------

    def identify(self, *, wait_s: float | None = None) -> device_pb2.IdentifyResponse:
        """What the device is; its limits hold for the calls that follow.

        Args:
            wait_s: for how long to wait for a device that is away (see `_connecting`). None: as long as
                for any call, and whatever goes wrong is told as it was.

        Raises:
            NodeRefused: it says no.
            NodeSilent: it does not answer.
        """
        ask = self._device.Identify if wait_s is None else _connecting(self._device.Identify)
        said = self._asker.control(partial(ask, device_pb2.IdentifyRequest()), wait_s=wait_s)
        self._pages_per_request = max(1, said.limits.pages_per_request)
        self._ranges_per_trim = max(1, said.limits.ranges_per_trim)
        if self._transfers is not None:
            self._transfers.together(said.limits.commands_per_message)
        return said

    def attach(
        self, region: Region, *, take_over: bool, wait_s: float | None = None
    ) -> tuple[Session, types_pb2.Telemetry]:
        """Get a region. An attach that was not answered may have happened: its repetition takes it over.

        Raises:
            NodeRefused: it says no.
            NodeSilent: it does not answer.
        """
        request = device_pb2.AttachRequest(
            host=region.host,
            logical_bytes=region.logical_bytes,
            guaranteed_media_bytes=region.guaranteed_bytes,
            limit_media_bytes=region.limit_bytes,
            lease_ns=region.lease_ns,
            take_over=take_over,
        )

        def attach(timeout: float) -> device_pb2.AttachResponse:
            try:
                return self._device.Attach(request, timeout=timeout)
            except grpc.RpcError as error:
                if unanswered(read_refusal(error)):
                    request.take_over = True
                raise

        until = self._asker.until(wait_s)
        said = self._asker.control(attach, wait_s=wait_s)
        self.largest_bytes = region.logical_bytes
        session = Session(said.session, said.generation, said.lease_ns)
        self._speaks_of(session)
        self._take_lane(session, until)
        return session, said.telemetry

    def resume(self, session: Session) -> types_pb2.Telemetry:
        """Go on with a session that another process held. Raises as `renew` does."""
        until = self._asker.until()
        self._speaks_of(session)
        telemetry = self.renew(session, wait_s=self._asker.left(until))
        self._take_lane(session, until)
        return telemetry

    def _speaks_of(self, session: Session) -> None:
        name = session.session[:SESSION_CHARS]
        self._asker.facts = {"device": self.address, "generation": session.generation, "session": name}

    def renew(self, session: Session, *, wait_s: float) -> types_pb2.Telemetry:
        """Start the lease anew; asked once.

        Raises:
            NodeRefused: it says no.
            NodeSilent: it does not answer.
        """
        request = device_pb2.RenewRequest(session=session.session, generation=session.generation)
        return self._asker.control(partial(_connecting(self._device.Renew), request), wait_s=wait_s).telemetry

    def telemetry(self, session: Session, *, wait_s: float | None = None) -> types_pb2.Telemetry:
        """The device and our region, now. Raises as `renew` does."""
        request = device_pb2.GetTelemetryRequest(session=session.session, generation=session.generation)
        return self._asker.control(
            partial(_connecting(self._device.GetTelemetry), request), wait_s=wait_s
        ).telemetry

    def resize(self, session: Session, logical_bytes: int, *, wait_s: float) -> types_pb2.Telemetry:
        """Change the size of our region. Raises as `renew` does."""
        request = device_pb2.ResizeRequest(
            session=session.session, generation=session.generation, logical_bytes=logical_bytes
        )
        return self._asker.control(partial(self._device.Resize, request), wait_s=wait_s).telemetry

    def grant_credits(
        self, request: device_pb2.GrantCreditsRequest, *, wait_s: float
    ) -> device_pb2.GrantCreditsResponse:
        """Ask for write credits. Raises as `renew` does."""
        return self._asker.control(partial(self._device.GrantCredits, request), wait_s=wait_s)

    def detach(self, session: Session, *, wait_s: float | None = None) -> int:
        """End the session; the media bytes that came back.

        Raises:
            NodeRefused: it says no.
            NodeSilent: it does not answer.
        """
        request = device_pb2.DetachRequest(session=session.session, generation=session.generation)
        ask = partial(self._device.Detach, request)
        released = self._asker.control(ask, wait_s=wait_s).released_media_bytes
        self._leave_lane()
        return released

    def watch(
        self, session: Session, after_sequence: int | None
    ) -> grpc.CallIterator[device_pb2.WatchEventsResponse]:
        """The event stream, from behind an event or from now on."""
        return self._device.WatchEvents(
            device_pb2.WatchEventsRequest(
                session=session.session, generation=session.generation, after_sequence=after_sequence
            )
        )

    # -- data -------------------------------------------------------------------------------------

    def write(self, session: Session, dpas: Sequence[int], data: bytes) -> NodeWritten:
        """Store page i of `data` at `dpas[i]`, in order, until one is refused."""
        accepted = 0
        for start, end in self._batches(len(dpas), self._pages_per_request):
            whole = end - start == len(dpas)
            part = data if whole else data[start * PAGE_BYTES : end * PAGE_BYTES]
            said = self._asker.ask(partial(self._road.write, session, dpas[start:end], part))
            if isinstance(said, Refusal):
                if said.write_refused is not None:
                    accepted += said.write_refused.accepted_pages
                    self._spent("write", said.write_refused.device_ns)
                    self.refused_telemetry = said.write_refused.telemetry
                return NodeWritten(self._status(said, dpas[start:end]), accepted)
            accepted += said.accepted_pages
            self._spent("write", said.device_ns)
        return NodeWritten(NodeStatus.OK, accepted)

    def read(
        self, session: Session, dpas: Sequence[int], take: Callable[[Sequence[int], bytes | memoryview], None]
    ) -> NodeLoaded:
        """Read pages; `take` gets the positions in `dpas` that were read, and their bytes.

        A poisoned request is asked again without the pages that it names: the others are readable.
        """
        poisoned: set[int] = set()
        for start, end in self._batches(len(dpas), self._pages_per_request):
            positions = list(range(start, end))
            while positions:
                asked = [dpas[position] for position in positions]
                said = self._asker.ask(partial(self._road.read, session, asked, partial(take, positions)))
                if not isinstance(said, Refusal):
                    self._spent("read", said)
                    break
                bad: set[int] = set()
                if said.pages_poisoned is not None:
                    bad.update(said.pages_poisoned.dpas)
                    self._spent("read", said.pages_poisoned.device_ns)
                lost = [position for position in positions if dpas[position] in bad]
                if not lost:
                    status = self._status(said, asked)
                    # Poison that names none of our pages would be asked for again, for ever.
                    return NodeLoaded(NodeStatus.UNAVAILABLE if status is NodeStatus.POISONED else status)
                poisoned.update(lost)
                positions = [position for position in positions if dpas[position] not in bad]
        return NodeLoaded(NodeStatus.POISONED if poisoned else NodeStatus.OK, frozenset(poisoned))

    def trim(self, session: Session, ranges: Sequence[tuple[int, int]]) -> NodeTrimmed:
        """TRIM ranges of (start, length) bytes."""
        for start, end in self._batches(len(ranges), self._ranges_per_trim):
            said = self._asker.ask(partial(self._road.trim, session, ranges[start:end]))
            if isinstance(said, Refusal):
                return NodeTrimmed(self._status(said, [first for first, _ in ranges[start:end]]))
            self._spent("trim", said.device_ns)
        return NodeTrimmed(NodeStatus.OK)

    def _status(self, said: Refusal, dpas: Sequence[int]) -> NodeStatus:
        """What a refused data call means.

        Past its end, a region that was larger once was cut: the device has taken capacity by force, and its
        word of that is under way. As with any call that has no answer yet, the pages wait for it.

        Raises:
            ProtocolBroken: see `node_status`; also an address that was never ours.
        """
        if said.reason == "OUT_OF_RANGE" and max(dpas) < self.largest_bytes:
            return NodeStatus.UNAVAILABLE
        return node_status(said)

    def flush(self, session: Session) -> NodeStatus:
        """Wait until every TRIM of ours has released its media."""
        said = self._asker.ask(partial(self._road.flush, session))
        if isinstance(said, Refusal):
            return node_status(said)
        self._spent("flush", said.device_ns)
        return NodeStatus.OK

    def data_answers(self, session: Session, *, timeout_s: float) -> bool:
        """Whether the data path says anything at all."""
        return answers(self._road, session, timeout_s)

    def _spent(self, operation: str, device_ns: int) -> None:
        with self._counting:
            self.device_ns[operation] += device_ns

    # -- roads ------------------------------------------------------------------------------------

    @property
    def _road(self) -> Road:
        return self._lane or self._grpc

    def _take_lane(self, session: Session, until: float) -> None:
        """Open a lane for a new session, where there are lanes.

        Raises:
            NodeRefused: there is none, and no other transport is wanted.
            NodeSilent: likewise, and the region may not have been given back.
        """
        self._leave_lane()
        if self._transport in {"grpc", "calls"}:
            return
        try:
            lane = lane_of(self.channel, self.address, session, self._asker.left(until))
        except grpc.RpcError as error:
            refusal = read_refusal(error)
        except LaneUnavailable as error:
            refusal = Refusal(grpc.StatusCode.UNIMPLEMENTED, str(error))
        else:
            if self.traces is not None:
                lane.span = self.traces.packed
            self._lane = LaneRoad(lane, session, self._grpc)
            return
        level = logging.INFO if self.address.startswith("unix:") else logging.DEBUG
        log_event("lane_unavailable", level=level, **self.facts, reason=str(refusal))
        if self._transport == "lane":
            try:
                self.detach(session, wait_s=self._asker.left(until))
            except NodeSilent as silent:
                silent.may_have_happened = True
                raise
            raise NoLane(refusal)

    def _leave_lane(self) -> None:
        if self._lane is not None:
            self._lane.close()
            self._lane = None

    @staticmethod
    def _batches(count: int, most: int) -> Iterator[tuple[int, int]]:
        for start in range(0, count, most):
            yield start, min(start + most, count)
