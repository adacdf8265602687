"""MemoryService: the data path. zstd runs without the device's lock, on the calling thread's own codec."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from cramwire import transfer_messages
from cramwire.page_messages import ReadReply, put_read_response
from cramwire.v1 import memory_pb2
from cxldev.codec import CompressedPages, ExpandedPages
from cxldev.config import PAGE_BYTES
from cxldev.errors import Poisoned, WriteRefused
from cxldev.outcomes import ReadOutcome
from cxldev.single_pages import read_again, read_single, write_single
from cxldevd import from_wire
from cxldevd.codecs import Codecs
from cxldevd.small_commands import SmallCommands
from cxldevd.turns import PARTS_AT_ONCE, WRITTEN_PART
from cxldevd.waiting import CallerGone, pause, ring_when_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramwire.page_messages import PageRequest
    from cramwire.transfer_answers import Reply
    from cxldev.codec import Buffer, StoredPages
    from cxldev.outcomes import (
        FlushOutcome,
        FlushTicket,
        SessionRef,
        TrimOutcome,
        WriteOutcome,
    )
    from cxldevd.in_flight import InFlight
    from cxldevd.request_metrics import RequestMetrics
    from cxldevd.runtime import Runtime
    from cxldevd.session_hosts import SessionHosts
    from cxldevd.slots import Slots
    from cxldevd.turns import Turn, Turns
    from cxldevd.waiting import Caller


_DPA_BYTES: Final = 8
_MOST_OF_PART: Final = WRITTEN_PART * PARTS_AT_ONCE * PAGE_BYTES
"""Bytes."""
_NOWHERE: Final = memoryview(b"")
"""Where one page goes that stands for itself."""


class _OfThread(threading.local):
    """What each thread has of its own, made when it is used first."""

    def __init__(self) -> None:
        self._pages: memoryview | None = None

    @property
    def pages(self) -> memoryview:
        """Made for threads that need it: those of gRPC never do."""
        if self._pages is None:
            self._pages = memoryview(bytearray(_MOST_OF_PART))
        return self._pages


class MemoryCalls:
    """The four data commands. `time_dilation`: wall time to wait for each ns of device time."""

    def __init__(
        self,
        runtime: Runtime,
        hosts: SessionHosts,
        turns: Turns,
        in_flight: InFlight,
        flushes: Slots,
        *,
        metrics: RequestMetrics,
        time_dilation: float,
    ) -> None:
        self._runtime = runtime
        self._hosts = hosts
        self._turns = turns
        self._in_flight = in_flight
        self._flushes = flushes
        self._metrics = metrics
        self._time_dilation = time_dilation
        config = runtime.config
        self._stages = config.staging.bytes > 0
        self._most_bytes = config.max_pages_per_request * PAGE_BYTES
        self._codecs = Codecs(config.zstd_level)
        self.small: SmallCommands | None = None
        """Carries out several at once; None: each is to take its time."""
        if not time_dilation:
            self.small = SmallCommands(runtime, hosts, turns, in_flight, self._codecs)
        self._of_thread = _OfThread()

    # -- as gRPC calls them ----------------------------------------------------------------------

    def write(self, request: PageRequest, context: Caller) -> memory_pb2.WriteResponse:
        """Store pages in order."""
        ref, dpas, data = *from_wire.page_request(request), request.data
        if len(dpas) == 1 and len(data) == PAGE_BYTES:
            outcome = self.store_one(ref, dpas.item(), memoryview(data), context)
        else:
            pages = memoryview(data)
            outcome = self.store(ref, dpas, len(data), lambda begin, end: pages[begin:end], context)
        return memory_pb2.WriteResponse(accepted_pages=outcome.accepted_pages, device_ns=outcome.device_ns)

    def read(self, request: PageRequest, context: Caller) -> bytes:
        """Read pages: a ReadResponse as it goes over the wire."""
        ref, dpas = from_wire.page_request(request)
        if len(dpas) == 1:
            outcome = self.load_one(ref, dpas.item(), context)
            return put_read_response((outcome.data,), outcome.device_ns)
        reply = ReadReply(self.most_read(request))
        device_ns = self.load(ref, dpas, reply.pages, context).device_ns
        return reply.take(device_ns)

    def read_into(self, request: PageRequest, caller: Caller, reply: Reply) -> None:
        """Read pages: the answer goes into a message of an open call."""
        ref, dpas = from_wire.page_request(request)
        if len(dpas) == 1:
            outcome = self.load_one(ref, dpas.item(), caller)
            reply.put(transfer_messages.put_read_answer(outcome.data, outcome.device_ns))
            return
        device_ns = self.load(ref, dpas, reply.room(self.most_read(request)), caller).device_ns
        reply.close(device_ns)

    def most_read(self, request: PageRequest) -> int:
        """Bytes of pages that a read is answered with, at most: of no page, or of too many, it is refused."""
        pages = len(request.dpas) // _DPA_BYTES
        return max(PAGE_BYTES, min(pages * PAGE_BYTES, self._most_bytes))

    def trim(self, request: memory_pb2.TrimRequest, context: Caller) -> memory_pb2.TrimResponse:
        """Give ranges up."""
        starts, lengths = from_wire.ranges(request.ranges)
        outcome = self.give_up(from_wire.session(request), starts, lengths, context)
        return memory_pb2.TrimResponse(trimmed_pages=outcome.trimmed_pages, device_ns=outcome.device_ns)

    def flush(self, request: memory_pb2.FlushRequest, context: Caller) -> memory_pb2.FlushResponse:
        """Wait for every TRIM before."""
        outcome = self.wait_for_trims(from_wire.session(request), context)
        return memory_pb2.FlushResponse(
            released_media_bytes=outcome.released_media_bytes, device_ns=outcome.device_ns
        )

    # -- as every transport calls them -----------------------------------------------------------

    def store(
        self,
        ref: SessionRef,
        dpas: from_wire.Addresses,
        data_bytes: int,
        fetch: Callable[[int, int], Buffer],
        caller: Caller,
    ) -> WriteOutcome:
        """Store pages in order.

        Once all of the request is found right, `fetch` is called for one part of its bytes after the other,
        from one to before another; no more than `pages_of_thread` takes, and nothing of them is kept.
        """
        host = self._hosts.name(ref)
        with self._runtime.device() as (device, now_ns):
            ticket = device.begin_write(ref, dpas, data_bytes, now_ns)
        count = ticket.count
        with self._in_flight.hold(count, host):
            try:
                with self._turns.of_pages(host, count, written=True) as turn:
                    # It may have waited until nobody wanted it.
                    _still_there(caller)
                    pages = self._compress(fetch, count, turn)
                    with self._runtime.device() as (device, now_ns):
                        # Not only before: who gave this call up may have stored newer bytes meanwhile.
                        _still_there(caller)
                        self._expect_draining(now_ns)
                        outcome = device.commit_write(
                            ticket, pages, now_ns, in_flight_pages=self._in_flight.pages - count
                        )
            except WriteRefused as refusal:
                self._spend("write", refusal.device_ns, refusal.wall_ns, caller)
                raise
            self._spend("write", outcome.device_ns, outcome.wall_ns, caller)
        return outcome

    def store_one(self, ref: SessionRef, dpa: int, page: memoryview, caller: Caller) -> WriteOutcome:
        """As `store`, for one page: compressed in less time than it takes to have the device twice."""
        if self._stages:
            return self.store(ref, _dpas_of(dpa), PAGE_BYTES, lambda *_: page, caller)
        host, in_flight, runtime = self._hosts.name(ref), self._in_flight, self._runtime
        in_flight.add(1, host)
        try:
            with self._turns.of_pages(host, 1, written=True):
                _still_there(caller)
                packed = self._codecs.compress_single(page)
                device, now_ns = runtime.enter()
                try:
                    _still_there(caller)
                    outcome = write_single(
                        device, ref, dpa, packed, now_ns, in_flight_pages=in_flight.pages - 1
                    )
                finally:
                    runtime.leave()
            if outcome is not None:
                self._spend("write", outcome.device_ns, 0, caller)
                return outcome
        finally:
            in_flight.drop(1, host)
        return self.store(ref, _dpas_of(dpa), PAGE_BYTES, lambda *_: page, caller)

    @property
    def pages_of_thread(self) -> memoryview:
        """Memory for a part of a write that stays warm. Only the calling thread uses it."""
        return self._of_thread.pages

    def load(
        self, ref: SessionRef, dpas: from_wire.Addresses, into: memoryview, caller: Caller
    ) -> ReadOutcome:
        """Read pages; several go to the beginning of `into`, one stands for itself."""
        host = self._hosts.name(ref)
        pages = min(len(dpas), self._runtime.config.max_pages_per_request)
        with self._in_flight.hold(pages, host):
            try:
                with self._turns.of_pages(host, pages, written=False) as turn:
                    _still_there(caller)
                    outcome = self._read(ref, dpas, into, turn)
            except Poisoned as lost:
                self._spend("read", lost.device_ns, lost.wall_ns, caller)
                raise
            self._spend("read", outcome.device_ns, outcome.wall_ns, caller)
        return outcome

    def load_one(self, ref: SessionRef, dpa: int, caller: Caller) -> ReadOutcome:
        """As `load`, for one page: the device is had once, and nothing stays open meanwhile."""
        host, in_flight, runtime = self._hosts.name(ref), self._in_flight, self._runtime
        in_flight.add(1, host)
        try:
            with self._turns.of_pages(host, 1, written=False):
                _still_there(caller)
                device, now_ns = runtime.enter()
                try:
                    held = read_single(device, ref, dpa, now_ns, in_flight_pages=in_flight.pages - 1)
                finally:
                    runtime.leave()
                page = None
                if held is not None:
                    page = self._codecs.expand_single(held.kind, held.word, held.frame)
                    if page is None:
                        with runtime.device() as (device, _):
                            read_again(device)
            if held is not None and page is not None:
                self._spend("read", held.device_ns, 0, caller)
                return ReadOutcome(page, held.device_ns, 0)
        finally:
            in_flight.drop(1, host)
        return self.load(ref, _dpas_of(dpa), _NOWHERE, caller)

    def give_up(
        self, ref: SessionRef, starts: from_wire.Addresses, lengths: from_wire.Addresses, caller: Caller
    ) -> TrimOutcome:
        """TRIM ranges, in bytes."""
        host = self._hosts.name(ref)
        with self._turns.of_ranges(host), self._runtime.device() as (device, now_ns):
            _still_there(caller)
            outcome = device.trim(ref, starts, lengths, now_ns)
        if outcome.due_ns is not None:
            self._runtime.expect(outcome.due_ns)
        self._spend("trim", outcome.device_ns, outcome.wall_ns, caller)
        return outcome

    def wait_for_trims(self, ref: SessionRef, caller: Caller) -> FlushOutcome:
        """FLUSH."""
        with self._runtime.device() as (device, now_ns):
            ticket = device.begin_flush(ref, now_ns)
            outcome = device.flush_done(ticket, now_ns)
        if outcome is None:
            with self._flushes.one(ref.session):
                outcome = self._wait(ticket, caller)
        self._spend("flush", outcome.device_ns, outcome.wall_ns, caller)
        return outcome

    # -- inside ----------------------------------------------------------------------------------

    def _expect_draining(self, now_ns: int) -> None:
        """Something may have been staged: it is due no earlier than after the delay."""
        staging = self._runtime.config.staging
        if staging.bytes:
            self._runtime.expect(now_ns + staging.delay_ns)

    def _compress(self, fetch: Callable[[int, int], Buffer], end: int, turn: Turn) -> CompressedPages:
        compress, pages = self._codecs.compress, turn.pages
        if end <= pages:
            return compress(fetch(0, end * PAGE_BYTES))
        parts, start = [], 0
        while True:
            parts.append(compress(fetch(start * PAGE_BYTES, min(start + pages, end) * PAGE_BYTES)))
            start += pages
            if start >= end:
                return CompressedPages.joined(parts)
            pages = turn.next_part(end - start)

    def _expand(self, stored: StoredPages, into: memoryview, turn: Turn) -> ExpandedPages:
        expand, end = self._codecs.expand, len(stored)
        if end <= turn.pages:
            return expand(stored, into)
        bad: list[int] = []
        start, pages = 0, turn.pages
        while start < end:
            if start:
                pages = turn.next_part(end - start)
            part = stored.part(start, start + pages)
            place = into[start * PAGE_BYTES : (start + len(part)) * PAGE_BYTES]
            expanded = expand(part, place)
            if len(part) == 1:
                place[:] = expanded.data  # one page stands for itself
            bad += (start + index for index in expanded.bad)
            start += pages
        return ExpandedPages(into[: len(stored) * PAGE_BYTES], tuple(bad))

    def _read(self, ref: SessionRef, dpas: from_wire.Addresses, into: memoryview, turn: Turn) -> ReadOutcome:
        ticket = None
        try:
            with self._runtime.device() as (device, now_ns):
                ticket = device.begin_read(ref, dpas, now_ns)
            expanded = self._expand(ticket.stored, into, turn)
        except BaseException:
            # An open read keeps its places from being used anew, for ever.
            if ticket is not None:
                with self._runtime.device() as (device, _):
                    device.abandon_read(ticket)
            raise
        with self._runtime.device() as (device, now_ns):
            return device.end_read(
                ticket, expanded, now_ns, in_flight_pages=self._in_flight.pages - ticket.count
            )

    def _wait(self, ticket: FlushTicket, caller: Caller) -> FlushOutcome:
        changed = self._runtime.changed
        # From here on the end of this call, too, wakes all who wait.
        ring_when_gone(caller, changed)
        while True:
            seen = changed.strokes
            with self._runtime.device() as (device, now_ns):
                outcome = device.flush_done(ticket, now_ns)
                due_ns = None if outcome is not None else device.flush_due(ticket, now_ns)
            if outcome is not None:
                return outcome
            _still_there(caller)
            self._runtime.refuse_if_draining()
            # One that hangs in a fault waits for the event that clears it.
            changed.wait(seen, due_ns)

    def _spend(self, operation: str, device_ns: int, wall_ns: int, caller: Caller) -> None:
        """Count device time, and wait as long as the dilation and a latency fault ask for."""
        self._metrics.device_took(operation, device_ns)
        if not wall_ns and not self._time_dilation:
            return
        pause(caller, self._runtime.clock, wall_ns + round(device_ns * self._time_dilation))


def _dpas_of(dpa: int) -> from_wire.Addresses:
    return np.array([dpa], np.uint64)


def _still_there(caller: Caller) -> None:
    if not caller.is_active():
        raise CallerGone
