"""The agent's end of one device: a session, the threads that hold it, and what becomes of it.

The main loop alone calls this; the threads speak through the inbox. Where the link is down, data
calls are answered UNAVAILABLE at once; where the session is over, GONE.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from cramagent.behind import Behind
from cramagent.clock import SYSTEM_CLOCK
from cramagent.credit_keeper import CreditKeeper
from cramagent.lease import LeaseKeeper
from cramagent.policy.answers import NodeReading
from cramagent.policy.effects import NodeLoaded, NodeStatus, NodeTrimmed, NodeWritten
from cramagent.policy.settings import PAGE_BYTES
from cramagent.refusals import NodeRefused, NodeSilent
from cramagent.watcher import EventWatcher
from cramwire.traces import carried, span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cramagent.clock import Clock, Inbox
    from cramagent.messages import Message
    from cramagent.node_client import NodeClient, Region, Session
    from cramagent.policy.credits import CreditRequest
    from cramwire.v1 import device_pb2, types_pb2

NS_PER_S: Final = 1_000_000_000
_REATTACH_EVERY_NS: Final = NS_PER_S // 2
_REATTACH_WAIT_S: Final = 0.3
"""The main loop waits no longer: what is in DRAM and in swap goes on."""


class LinkState(Enum):
    """How the session stands."""

    UP = "up"
    DOWN = "down"
    """The device does not answer; the session may still hold."""
    OVER = "over"
    """No session: the bytes in the region are gone."""


class NodeLink:
    """Attach, hold, lose and attach again. It is what the performer writes to and reads from."""

    def __init__(
        self, client: NodeClient, region: Region, inbox: Inbox[Message], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.client: Final = client
        self.region: Final = region
        self.state = LinkState.OVER
        self.over_reason = ""
        """The wire's reason for the end of the last session."""
        self.refused_writes = {NodeStatus.NO_MORE_WRITES: 0, NodeStatus.REGION_LIMIT: 0}
        """Write commands that ended so."""
        self.generation = ""
        """Of the last session, also after its end."""
        self._inbox = inbox
        self._clock = clock
        self._identity: device_pb2.IdentifyResponse | None = None
        self._session: Session | None = None
        self._keeper: LeaseKeeper | None = None
        self._watcher: EventWatcher | None = None
        self._credits: CreditKeeper | None = None
        self._take_over = False
        self._next_attach_ns = 0
        self._last_region: types_pb2.RegionTelemetry | None = None
        self._newest_sequence = 0
        """The newest event that a reading of this session knows of."""

    @property
    def session(self) -> Session | None:
        """The session that holds, or that did before the link went down."""
        return self._session

    def attach(self, *, take_over: bool, wait_s: float | None = None) -> types_pb2.Telemetry:
        """Begin a session and the threads that hold it. `wait_s`: for all that this takes.

        Raises:
            NodeRefused: the device says no.
            NodeSilent: it does not answer; a region may have been given nevertheless.
        """
        with span_of(self.client.traces, "attach"):
            return self._attach(take_over=take_over, wait_s=wait_s)

    def _attach(self, *, take_over: bool, wait_s: float | None) -> types_pb2.Telemetry:
        assert self._session is None, self._session
        began_ns = self._clock.now_ns()
        self._identity = self.client.identify(wait_s=wait_s)
        left_s = None if wait_s is None else max(0.0, wait_s - (self._clock.now_ns() - began_ns) / NS_PER_S)
        try:
            session, telemetry = self.client.attach(
                self.region, take_over=take_over or self._take_over, wait_s=left_s
            )
        except NodeSilent as silent:
            self._take_over |= silent.may_have_happened
            raise
        self._take_over = False
        self._hold(session, telemetry)
        return telemetry

    def _hold(self, session: Session, telemetry: types_pb2.Telemetry) -> None:
        self._session = session
        self.generation = session.generation
        self._last_region = telemetry.region
        self._newest_sequence = 0
        self.state = LinkState.UP
        self._keeper = LeaseKeeper(self.client, session, self._inbox, self._clock)
        self._watcher = EventWatcher(self.client, session, telemetry.event_sequence, self._inbox, self._clock)

    def resume(self, session: Session) -> types_pb2.Telemetry | None:
        """Go on with a session of a former run. None: it is over, and with it all that it held.

        Raises:
            NodeRefused: the device says no to something else.
            NodeSilent: it does not answer.
        """
        assert self._session is None, self._session
        self._identity = self.client.identify()
        self.generation = session.generation
        try:
            telemetry = self.client.resume(session)
        except NodeRefused as refused:
            if not refused.session_over:
                raise
            self.over(refused.refusal.reason)
            return None
        self._hold(session, telemetry)
        return telemetry

    def leave(self) -> None:
        """Let go of the session without ending it: another run will go on with it. The channel is closed."""
        self._stop_threads()
        session, self._session = self._session, None
        if session is not None and self.state is LinkState.UP:
            # The whole lease for whoever comes next; a device that is silent now may be there by then.
            with suppress(NodeRefused, NodeSilent):
                self.client.renew(session, wait_s=_REATTACH_WAIT_S)
        self.state = LinkState.OVER
        self.client.close()

    def attach_again(self, now_ns: int) -> types_pb2.Telemetry | None:
        """While the session is over: try now and then. None: not now, or it did not work."""
        if self.state is not LinkState.OVER or now_ns < self._next_attach_ns:
            return None
        self._next_attach_ns = now_ns + _REATTACH_EVERY_NS
        try:
            return self.attach(take_over=False, wait_s=_REATTACH_WAIT_S)
        except (NodeSilent, NodeRefused) as error:
            self.over_reason = f"{self.over_reason.partition(';')[0]}; attach: {error}"
            return None

    def is_mine(self, session: str) -> bool:
        """Whether a message is about the session of now: one from a former session says nothing."""
        return self._session is not None and self._session.session == session

    def down(self) -> None:
        """The device did not answer."""
        if self.state is LinkState.UP:
            self.state = LinkState.DOWN

    def up(self) -> None:
        """It answered again, and knows the session."""
        if self.state is LinkState.DOWN:
            self.state = LinkState.UP

    def over(self, reason: str) -> None:
        """The session is over."""
        self.state = LinkState.OVER
        self.over_reason = reason
        self._stop_threads()
        self._session = None
        self._next_attach_ns = 0

    def close(self) -> int:
        """Detach, if there is a session; the media bytes that came back. The channel is closed.

        Raises:
            NodeRefused, NodeSilent: the device did not take the goodbye; its lease will end the session.
        """
        self._stop_threads()
        session, self._session = self._session, None
        try:
            return self.client.detach(session) if session is not None else 0
        finally:
            self.state = LinkState.OVER
            self.client.close()

    def _stop_threads(self) -> None:
        for thread in (self._keeper, self._watcher, self._credits):
            if thread is not None:
                thread.stop()
        self._keeper = self._watcher = self._credits = None

    # -- telemetry --------------------------------------------------------------------------------

    def ask(self) -> None:
        """Have a reading taken soon; it comes through the inbox."""
        if self._keeper is not None:
            self._keeper.ask()

    def shrink(self, logical_bytes: int) -> None:
        """Give the end of the region back; the answer is a reading that comes through the inbox."""
        if self._keeper is not None:
            self._keeper.shrink(logical_bytes)

    def ask_credits(self, request: CreditRequest) -> None:
        """Ask the device for write credits; the answer comes through the inbox."""
        if self._session is None:
            return
        if self._credits is None:
            self._credits = CreditKeeper(self.client, self._session, self._inbox, self._clock)
        self._credits.ask(request)

    def is_news(self, telemetry: types_pb2.Telemetry, *, of_event: bool) -> bool:
        """Whether a reading is newer than those before it. One that is not would turn the clock back.

        What an event says was so when it happened: a reading that knows of it already is newer. Readings
        of other calls that know of the same events are in order, or so close that it makes no difference.
        """
        sequence = telemetry.event_sequence
        if sequence < self._newest_sequence or (of_event and sequence == self._newest_sequence):
            return False
        self._newest_sequence = sequence
        return True

    def reading(self, telemetry: types_pb2.Telemetry) -> NodeReading:
        """Telemetry as the policy reads it. Device-wide events carry no region: ours was last as it was."""
        if telemetry.HasField("region") and telemetry.region.host == self.region.host:
            self._last_region = telemetry.region
            self.client.largest_bytes = max(self.client.largest_bytes, telemetry.region.logical_bytes)
        region, identity = self._last_region, self._identity
        assert region is not None, "attach tells of the region"
        assert identity is not None, "attach asks for it"
        # No new page can have the empty part of the staging buffer, what lies there will need as much
        # again, and what is promised to writable pages is theirs.
        kept_bytes = identity.staging_bytes + region.credit_pages * PAGE_BYTES
        asked_back = region.asked_back_to_bytes if region.HasField("asked_back_to_bytes") else None
        return NodeReading(
            watermark=max(1, telemetry.watermark),
            no_more_writes=telemetry.no_more_writes,
            # Free, and not kept for other regions: how much that is, only the device can tell.
            media_free_bytes=max(0, min(telemetry.media_free_bytes - kept_bytes, region.room_bytes)),
            ratio_milli=region.ratio_milli,
            zratio_milli=telemetry.zratio_milli,
            stored_pages=region.stored_pages,
            region_free_bytes=max(0, region.limit_media_bytes - region.media_used_bytes),
            region_limit_bytes=region.limit_media_bytes,
            logical_bytes=region.logical_bytes,
            worst_page_bytes=PAGE_BYTES + identity.metadata_bytes,
            asked_back_to_bytes=asked_back,
            forced_in_ns=region.forced_in_ns if region.HasField("forced_in_ns") else None,
        )

    # -- data, as the performer asks for it ---------------------------------------------------------

    def write(self, dpas: Sequence[int], data: bytes) -> NodeWritten:
        """Store pages on the device."""
        session = self._session
        if session is None or self.state is not LinkState.UP:
            return NodeWritten(self._absent(), 0)
        answer = self.client.write(session, dpas, data)
        self._note_write(session, answer)
        return answer

    def write_behind(self, dpas: Sequence[int], data: bytes) -> Behind[NodeWritten] | None:
        """As `write`, but go on meanwhile; None: the link is not up, and `write` answers at once."""
        session = self._session
        if session is None or self.state is not LinkState.UP:
            return None
        write = carried(self.client.traces, partial(self.client.write, session, dpas, data))
        return Behind(self._clock, write, partial(self._note_write, session))

    def _note_write(self, session: Session, answer: NodeWritten) -> None:
        """What a write's answer says of the session that it was made in."""
        self._note_of(session, answer)
        if answer.status in self.refused_writes:
            self.refused_writes[answer.status] += 1

    def read(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes | memoryview], None]
    ) -> NodeLoaded:
        """Read pages from the device."""
        session = self._session
        if session is None or self.state is not LinkState.UP:
            return NodeLoaded(self._absent())
        answer = self.client.read(session, dpas, take)
        self._note(answer.status)
        return answer

    def read_behind(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes | memoryview], None]
    ) -> Behind[NodeLoaded] | None:
        """As `read`, but go on meanwhile, `take` called elsewhere; None: `read` answers at once."""
        session = self._session
        if session is None or self.state is not LinkState.UP:
            return None
        read = carried(self.client.traces, partial(self.client.read, session, dpas, take))
        return Behind(self._clock, read, partial(self._note_of, session))

    def trim(self, ranges: Sequence[tuple[int, int]]) -> NodeTrimmed:
        """TRIM ranges of the region."""
        session = self._session
        if session is None or self.state is not LinkState.UP:
            return NodeTrimmed(self._absent())
        answer = self.client.trim(session, ranges)
        self._note(answer.status)
        return answer

    def _absent(self) -> NodeStatus:
        return NodeStatus.UNAVAILABLE if self.state is LinkState.DOWN else NodeStatus.GONE

    def _note_of(self, session: Session, answer: NodeWritten | NodeLoaded) -> None:
        if session is self._session:
            self._note(answer.status)

    def _note(self, status: NodeStatus) -> None:
        if status is NodeStatus.UNAVAILABLE:
            self.down()
        elif status is NodeStatus.GONE:
            self.over(self.client.gone_reason)
