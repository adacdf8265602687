"""The thread that listens to the device's events and hands them to the main loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from cramagent.clock import SYSTEM_CLOCK
from cramagent.event_order import Arrival, EventOrder
from cramagent.messages import EventDropped, EventsMissed, PoisonTold, Reading, SessionOver
from cramagent.refusals import GONE_REASONS
from cramwire.refusal import read_refusal

if TYPE_CHECKING:
    from cramagent.clock import Clock, Inbox
    from cramagent.messages import Message
    from cramagent.node_client import NodeClient, Session
    from cramwire.v1 import device_pb2, types_pb2

_RECONNECT_S: Final = 0.2


class EventWatcher:
    """Follows one session's events from behind `after_sequence` until it is over or `stop` is called.

    A stream that breaks is opened again behind the last event that was seen, so nothing is lost
    unless the device says so, or the next event does (`EventsMissed`).
    """

    def __init__(
        self,
        client: NodeClient,
        session: Session,
        after_sequence: int,
        inbox: Inbox[Message],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._session = session
        self._order = EventOrder(after_sequence)
        self._inbox = inbox
        self._stopped = clock.flag()
        self._call: grpc.CallIterator[device_pb2.WatchEventsResponse] | None = None
        self._task = clock.start("events", self._watch)

    def stop(self) -> None:
        """Listen no more."""
        self._stopped.set()
        if self._call is not None:
            self._call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs left it so

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                self._call = self._client.watch(self._session, self._order.after)
                for item in self._call:
                    self._hear(item)
            except grpc.RpcError as error:
                reason = read_refusal(error).reason
                if reason in GONE_REASONS and not self._stopped.is_set():
                    self._inbox.put(SessionOver(self._session.session, reason))
                    return
            except ValueError:
                # grpc says so of a call on a closed channel: the run is over.
                return
            self._stopped.wait(_RECONNECT_S)

    def _hear(self, item: device_pb2.WatchEventsResponse) -> None:
        name = self._session.session
        match item.WhichOneof("item"):
            case "started":
                self._inbox.put(Reading(name, item.started.telemetry))
            case "missed":
                self._order.passed(item.missed.last_sequence)
                self._inbox.put(
                    EventsMissed(name, item.missed.last_sequence - item.missed.first_sequence + 1)
                )
            case "event":
                self._hear_event(item.event, self._order.arrived(item.event.sequence, item.previous_sequence))

    def _hear_event(self, event: types_pb2.Event, arrival: Arrival) -> None:
        name = self._session.session
        if arrival is Arrival.REPEATED:
            self._inbox.put(EventDropped(name, late=False))
            return
        match event.WhichOneof("kind"):
            case "poison_found":
                # A hint, good whenever it comes: the pages are read before they are given up.
                self._inbox.put(PoisonTold(name, tuple(event.poison_found.dpas)))
            case "device_reset":
                self._inbox.put(SessionOver(name, "STALE_GENERATION"))
                return
        if arrival is Arrival.LATE:
            self._inbox.put(EventDropped(name, late=True))
            return
        self._inbox.put(Reading(name, event.telemetry, event.wall_time_ns))
        if arrival is Arrival.NEW_BEHIND_A_GAP:
            # Behind the reading: what is asked for now is newer still.
            self._inbox.put(EventsMissed(name, 1))
