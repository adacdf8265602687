"""Small commands of one message, at once: for one turn at the machine, one set-up of zstd, one commit.

As the block layer merges requests that are queued together. Each is answered as it would be by itself. Where
that is not certain (`cxldev.several_commands` says when), nothing happens: they are carried out one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cxldev.codec import CompressedPages
from cxldev.config import PAGE_BYTES
from cxldev.outcomes import SessionRef
from cxldev.several_commands import abandon_reads, begin_reads, begin_writes, commit_writes, end_reads
from cxldevd.turns import PARTS_AT_ONCE, READ_PART, WRITTEN_PART

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cramwire.page_messages import PageRequest
    from cramwire.transfer_answers import Reply
    from cxldev.codec import Buffer
    from cxldev.outcomes import WriteOutcome
    from cxldev.several_commands import Reads
    from cxldevd import from_wire
    from cxldevd.codecs import Codecs
    from cxldevd.in_flight import InFlight
    from cxldevd.runtime import Runtime
    from cxldevd.session_hosts import SessionHosts
    from cxldevd.turns import Turn, Turns
    from cxldevd.waiting import Caller

_DPA_BYTES: Final = 8


class _Asked(NamedTuple):
    """What several commands ask for, one behind the other."""

    ref: SessionRef
    dpas: from_wire.Addresses
    counts: list[int]
    """Pages of each."""

    @property
    def pages(self) -> int:
        """Of all."""
        return len(self.dpas)

    def within(self, first: int, most: int) -> tuple[int, int]:
        """How many from this one on have no more pages than that, one at least; and their pages."""
        end, pages = first + 1, self.counts[first]
        while end < len(self.counts) and pages + self.counts[end] <= most:
            pages += self.counts[end]
            end += 1
        return end - first, pages


def fit_together(requests: Iterable[PageRequest], *, written: bool) -> list[PageRequest]:
    """Those from the front that may go together: small ones of one session, no more than a turn allows."""
    part = WRITTEN_PART if written else READ_PART
    together: list[PageRequest] = []
    pages = 0
    for request in requests:
        count = len(request.dpas) // _DPA_BYTES
        pages += count
        small = 0 < count <= part and len(request.data) == written * count * PAGE_BYTES
        first = together[0] if together else request
        same_session = (request.session, request.generation) == (first.session, first.generation)
        if not small or not same_session or pages > part * PARTS_AT_ONCE:
            break
        together.append(request)
    return together


class SmallCommands:
    """Carries them out. Shares all that it is given with `MemoryCalls`."""

    def __init__(
        self, runtime: Runtime, hosts: SessionHosts, turns: Turns, in_flight: InFlight, codecs: Codecs
    ) -> None:
        self._runtime = runtime
        self._hosts = hosts
        self._turns = turns
        self._in_flight = in_flight
        self._codecs = codecs

    def store(self, requests: Sequence[PageRequest], caller: Caller) -> list[WriteOutcome] | None:
        """Store the pages of several writes: what each is answered with. None: nothing happened.

        Raises:
            DeviceError: likewise; each finds out by itself whether that concerns it.
        """
        asked = _asked(requests)
        host = self._hosts.name(asked.ref)
        with self._runtime.device() as (device, now_ns):
            ticket = begin_writes(device, asked.ref, asked.dpas, now_ns)
        if ticket is None:
            return None
        count = ticket.count
        with self._in_flight.hold(count, host), self._turns.of_pages(host, count, written=True) as turn:
            # It may have waited until nobody wanted it.
            if not caller.is_active():
                return None
            packed = self._compress(asked, [request.data for request in requests], turn)
            with self._runtime.device() as (device, now_ns):
                # Who gave this call up may have stored newer bytes meanwhile.
                if not caller.is_active():
                    return None
                others = self._in_flight.pages - count
                return commit_writes(device, ticket, asked.counts, packed, now_ns, in_flight_pages=others)

    def load(self, requests: Sequence[PageRequest], reply: Reply, caller: Caller) -> list[int] | None:
        """Read pages into one answer behind the other: the device time of each read, ns.

        None: nothing happened, and what was answered is void.

        Raises:
            DeviceError: likewise.
        """
        asked = _asked(requests)
        count, host = asked.pages, self._hosts.name(asked.ref)
        with self._in_flight.hold(count, host), self._turns.of_pages(host, count, written=False) as turn:
            if not caller.is_active():
                return None
            others = self._in_flight.pages - count
            reads, whole = None, False
            try:
                with self._runtime.device() as (device, now_ns):
                    reads = begin_reads(
                        device, asked.ref, asked.dpas, asked.counts, now_ns, in_flight_pages=others
                    )
                if reads is None:
                    return None
                whole = self._expand(asked, reads, turn, reply)
                return reads.device_ns if whole else None
            finally:
                # An open read keeps its places from being used anew, for ever.
                if reads is not None:
                    with self._runtime.device() as (device, now_ns):
                        if whole:
                            end_reads(device, reads, now_ns)
                        else:
                            abandon_reads(device, reads)

    # -- inside: in parts of whole commands, as large as the turn allows ---------------------------------

    def _compress(self, asked: _Asked, data: Sequence[Buffer], turn: Turn) -> CompressedPages:
        parts: list[CompressedPages] = []
        at, left, most = 0, asked.pages, turn.pages
        while left:
            if at:
                most = turn.next_part(left)
            commands, pages = asked.within(at, most)
            parts.append(self._codecs.compress_several(data[at : at + commands]))
            at, left = at + commands, left - pages
        return parts[0] if len(parts) == 1 else CompressedPages.joined(parts)

    def _expand(self, asked: _Asked, reads: Reads, turn: Turn, reply: Reply) -> bool:
        """Whether all pages are right."""
        stored, start, most = reads.ticket.stored, 0, turn.pages
        for count, ns in zip(asked.counts, reads.device_ns, strict=True):
            if most < count and start:
                most = turn.next_part(asked.pages - start)
            most -= count
            into = reply.room(count * PAGE_BYTES)
            expanded = self._codecs.expand(stored.part(start, start + count), into)
            if expanded.bad:
                return False
            if count == 1:
                into[:] = expanded.data  # one page stands for itself
            reply.close(ns)
            start += count
        return True


def _asked(requests: Sequence[PageRequest]) -> _Asked:
    dpas = np.frombuffer(b"".join([request.dpas for request in requests]), "<u8").astype(np.uint64)
    counts = [len(request.dpas) // _DPA_BYTES for request in requests]
    return _Asked(SessionRef(requests[0].session, requests[0].generation), dpas, counts)
