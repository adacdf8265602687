"""Seeded mixes of faults on a device that random commands use, and what must hold of every one of them.

The record of a page is what a host may expect to read: the bytes of its last acknowledged write, or, if an
answer was lost, those before it as well. A page may be lost only if something happened that loses pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxldev.codec import PageCodec
from cxldev.config import PAGE_BYTES, DeviceConfig, ExhaustionMode, StagingConfig
from cxldev.device import Device, SessionRef
from cxldev.errors import CommandLost, CommandRefused, Poisoned, WriteRefused
from cxldev.events import PoisonFound
from cxldev.faults import BitFlipFault, HeldFault, PoisonFault, ResetFault, StagingOverflowFault
from cxldev.faults.scope import CONTROL
from cxldev.outcomes import POISONED
from emulator_helpers import addresses, at, random_page, same_page, zero_page
from emulator_random_faults import random_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cxldev.control import Arrival
    from cxldev.event_path import EventPath
    from cxldev.events import Event
    from cxldev.outcomes import FlushTicket

HOSTS = ("a", "b")
PAGES = 14
POOL = [
    zero_page(),
    same_page(b"cxlcram!"),
    *(random_page(seed, size) for seed, size in enumerate((8, 900, 2800, 4030, 4096, 4096))),
]
Place = tuple[str, int]
"""A host's page."""


@dataclass
class _Record:
    """What is known of one page."""

    expected: set[bytes] = field(default_factory=lambda: {bytes(PAGE_BYTES)})
    may_be_lost: bool = False


class Mix:
    """One device, its hosts, its faults, and the record. Every step checks what must always hold."""

    def __init__(self, seed: int, kinds: Sequence[str]) -> None:
        self.random = np.random.default_rng(seed)
        self.kinds = kinds
        mode = ExhaustionMode.POISON if seed % 3 == 1 else ExhaustionMode.REFUSE
        self.config = DeviceConfig(
            physical_capacity_bytes=20 * PAGE_BYTES,
            zratio_milli=3000,
            exhaustion_mode=mode,
            trim_delay_ns=(0, 40)[seed // 2 % 2],
            default_lease_ns=1_000_000_000,
            # A page is compressed in 20 ns.
            staging=StagingConfig((0, 4 * PAGE_BYTES)[seed % 2], 60, PAGE_BYTES * 50_000_000),
        )
        self.now = 0
        self.device = Device(self.config, generation="g0", now_ns=0)
        self.codec = PageCodec(1)
        self.resets = 0
        self.power_on()
        self.flushes: list[FlushTicket] = []
        self.arrivals: list[Arrival] = []
        self.paths: dict[str, EventPath] = {host: self.device.control.event_path(host) for host in HOSTS}
        self.offered: set[tuple[str, str, int]] = set()
        """Events that concerned a host: host, generation, sequence."""
        self.delivered: set[tuple[str, str, int]] = set()

    def power_on(self) -> None:
        """Attach; nothing is stored, nothing is told."""
        self.refs: dict[str, SessionRef] = {}
        for host in HOSTS:
            made = self.device.attach(
                session=f"{host}{self.resets}", host=host, logical_bytes=PAGES * PAGE_BYTES, now_ns=self.now
            )
            self.refs[host] = SessionRef(made.session, made.generation)
        self.record = {(host, page): _Record() for host in HOSTS for page in range(PAGES)}
        self.told: set[Place] = set()
        self.read_up_to = 0
        self.poisoned_before = self.poisoned()
        self.losses_before = self.losses()
        self.ambiguous: set[Place] = set()

    # -- what is looked at ------------------------------------------------------------------------

    def poisoned(self) -> set[Place]:
        """Pages that are lost now, as only the operator may know."""
        found = set()
        for region in self.device._power.regions:
            found |= {(region.host, page) for page in np.flatnonzero(region.table.kind == POISONED).tolist()}
        return found

    def losses(self) -> int:
        """Every loss that was counted, whatever the cause."""
        counters = self.device.counters
        return (
            counters.poison_created_exhaustion_pages
            + counters.poison_created_injected_pages
            + counters.poison_created_staging_pages
            + counters.poison_created_checksum_pages
        )

    def look(self) -> None:
        """What must hold after every step; the capacity identity the device asserts itself."""
        self._hear()
        lost = self.poisoned()
        new = lost - self.poisoned_before
        counted = self.losses() - self.losses_before
        again = len(lost & self.poisoned_before & self.ambiguous)
        assert len(new) <= counted <= len(new) + again, (new, counted)
        for place in lost:
            assert self._may_be_lost(place), place
        self.poisoned_before, self.losses_before, self.ambiguous = lost, self.losses(), set()

    def _may_be_lost(self, place: Place) -> bool:
        found_late = self.config.staging.bytes or self.config.exhaustion_mode is ExhaustionMode.POISON
        return self.record[place].may_be_lost or bool(found_late)

    def _hear(self) -> None:
        """Read the log: each poisoning is told once. Offer every event to the hosts it concerns."""
        log = self.device.events
        missed, events = log.after(self.read_up_to)
        assert missed is None
        self.read_up_to = log.last_sequence
        for event in events:
            if isinstance(event.kind, PoisonFound):
                self._told(event)
            for host, path in self.paths.items():
                if event.concerns(host):
                    self.offered.add((host, event.generation, event.sequence))
                    path.offer(event, self.now)
        for host, path in self.paths.items():
            self.delivered |= {(host, one.generation, one.sequence) for one in path.ready(self.now)}

    def _told(self, event: Event) -> None:
        assert isinstance(event.kind, PoisonFound)
        assert event.telemetry.region is not None
        places = {(event.telemetry.region.host, dpa // PAGE_BYTES) for dpa in event.kind.dpas}
        assert not places & self.told, places & self.told
        self.told |= places

    # -- what hosts do ----------------------------------------------------------------------------

    def step(self) -> None:
        """Time passes, then one command of a host, or one of the operator's."""
        self.now += int(self.random.integers(0, 30))
        self.device.advance(self.now)
        self.look()
        host = HOSTS[self.random.integers(len(HOSTS))]
        what = self.random.integers(12)
        try:
            if what < 4:
                self.write(host)
            elif what < 7:
                self.read(host, self._some_pages())
            elif what < 8:
                self.trim(host)
            elif what < 9:
                self.flushes.append(self.device.begin_flush(self.refs[host], self.now))
            elif what < 10:
                operations = sorted(CONTROL, key=lambda one: one.value)
                operation = operations[self.random.integers(len(operations))]
                self.arrivals.append(self.device.control.arrive(operation, host, self.now))
            else:
                self.inject(host)
        except (CommandRefused, CommandLost):
            pass  # what the record needs to know of it was noted where it was raised
        self.look()

    def _some_pages(self) -> list[int]:
        count = int(self.random.integers(1, 7))
        return self.random.choice(PAGES, count, replace=False).tolist()  # type: ignore[no-any-return]  # ints

    def write(self, host: str) -> None:
        """An acknowledged page replaces what was expected; one of a lost answer adds to it."""
        pages = self._some_pages()
        contents = [POOL[self.random.integers(len(POOL))] for _ in pages]
        before = self.device.counters.write_requests
        try:
            self.device.write(self.refs[host], at(*pages), b"".join(contents), self.now, codec=self.codec)
            accepted = len(pages)
        except WriteRefused as refused:
            accepted = refused.accepted_pages
        except CommandLost as lost:
            if lost.carried_out:
                self._maybe_written(host, pages, contents)
            elif self.device.counters.write_requests > before:
                pytest.fail("a write that was not carried out was")
            raise
        for page, data in zip(pages[:accepted], contents, strict=False):
            self._touched(host, page)
            self.record[host, page] = _Record({data})

    def _maybe_written(self, host: str, pages: list[int], contents: list[bytes]) -> None:
        for page, data in zip(pages, contents, strict=True):
            self._touched(host, page)
            self.record[host, page].expected.add(data)

    def _touched(self, host: str, page: int) -> None:
        """The page may hold new bytes: a poisoning from now on is another one."""
        if (host, page) not in self.poisoned_before or (host, page) not in self.poisoned():
            self.told.discard((host, page))
        else:
            self.ambiguous.add((host, page))
            region = self.device._power.regions.must_have(host)
            if not region.table.place[page]:
                self.told.discard((host, page))

    def read(self, host: str, pages: list[int]) -> set[int]:
        """Right bytes, or an error that names what is lost: never wrong bytes. Which are lost."""
        try:
            outcome = self.device.read(self.refs[host], at(*pages), self.now, codec=self.codec)
        except Poisoned as lost:
            named = {dpa // PAGE_BYTES for dpa in lost.dpas}
            self._hear()
            assert named <= set(pages)
            assert {(host, page) for page in named} <= self.told & self.poisoned()
            return named
        data = bytes(outcome.data)
        for index, page in enumerate(pages):
            read = data[index * PAGE_BYTES : (index + 1) * PAGE_BYTES]
            assert read in self.record[host, page].expected, (host, page)
            self.record[host, page].expected = {read}
        return set()

    def trim(self, host: str) -> None:
        """Zeros at once; with a lost answer, perhaps."""
        start = int(self.random.integers(PAGES))
        length = int(self.random.integers(1, PAGES - start + 1))
        pages = range(start, start + length)
        try:
            self._trim(host, pages)
        except CommandLost as lost:
            if lost.carried_out:
                self._trimmed(host, pages)
            raise

    def _trim(self, host: str, pages: range) -> None:
        lengths = addresses([len(pages) * PAGE_BYTES])
        self.device.trim(self.refs[host], at(pages.start), lengths, self.now)
        self._trimmed(host, pages)

    def _trimmed(self, host: str, pages: Iterable[int]) -> None:
        for page in pages:
            self.told.discard((host, page))
            self.record[host, page] = _Record()

    # -- what the operator does -------------------------------------------------------------------

    def inject(self, host: str) -> None:
        """A fault of this mix's kinds, if the device has something for it to hit."""
        kind = self.kinds[int(self.random.integers(len(self.kinds)))]
        table = self.device._power.regions.must_have(host).table
        fault: Any = random_fault(kind, host, table, self.random)
        if fault is None or (isinstance(fault, StagingOverflowFault) and not self.config.staging.bytes):
            return
        if isinstance(fault, HeldFault) and len(self.device.status(self.now).faults) >= 5:
            return
        self.resets += isinstance(fault, ResetFault)
        done = self.device.inject(fault, self.now, next_generation=f"g{self.resets}")
        if isinstance(fault, PoisonFault | BitFlipFault):
            for dpa in done.dpas:
                self.record[host, dpa // PAGE_BYTES].may_be_lost = True
        if isinstance(fault, ResetFault):
            self.flushes.clear()
            self.power_on()

    # -- the end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Clear everything: nothing waits, right bytes or known losses everywhere, all media comes back."""
        self.device.audit()
        fired = {kind: count for kind, count in self.device.status(self.now).faults_fired if count}
        self.device.clear(None, self.now)
        self.look()
        assert not self.device.status(self.now).faults
        for arrival in self.arrivals:
            assert self.device.control.stalled_until(arrival, self.now) == self.now
        for path in self.paths.values():
            assert path.next_ns(self.now) is None
        assert self.delivered <= self.offered
        assert len(self.offered - self.delivered) <= fired.get("event", 0)
        for host in HOSTS:
            lost = self.read(host, list(range(PAGES)))
            self.look()
            assert lost == {page for other, page in self.poisoned() if other == host}
            if sound := [page for page in range(PAGES) if page not in lost]:
                assert not self.read(host, sound)
            self._trim(host, range(PAGES))
            self.flushes.append(self.device.begin_flush(self.refs[host], self.now))
        for ticket in self.flushes:
            due_ns = self.device.flush_due(ticket, self.now)
            assert due_ns is not None
            self.now = max(self.now, due_ns)
            if ticket.loss is None:
                assert self.device.flush_done(ticket, self.now) is not None
        self.look()
        self.device.audit()
        media = self.device.status(self.now).media
        assert (media.used_bytes, self.device._power.arena.live_bytes) == (0, 0)


def run_mix(seed: int, kinds: Sequence[str], steps: int = 40) -> Mix:
    """One mix from its first command to its last check."""
    mix = Mix(seed, kinds)
    for number in range(steps):
        mix.step()
        if not number % 8:
            mix.device.audit()  # slow
    mix.finish()
    return mix
