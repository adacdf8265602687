"""Hosts take turns at the machine: counted, over real ports. Commands go on when the test lets them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from cramwire.v1 import memory_pb2
from cxldev.codec import PageCodec
from cxldevd.errors import DeviceBusy
from cxldevd.in_flight import InFlight
from cxldevd.pools import CountedPool
from cxldevd.turns import PARTS_AT_ONCE, SHORT_TURNS, SMALL_PAGES, SMALL_TURNS, WRITTEN_PART, Turns
from server_helpers import DEADLINE_S, MIB, PAGE, Bench, Host, bench_of, dpas, noise, prose, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cxldev.codec import Buffer, CompressedPages, PackedPage

AT_ONCE = PARTS_AT_ONCE * WRITTEN_PART
"""Pages that a long command does before it asks again, while nobody waits with less."""
MANY = AT_ONCE + 2 * WRITTEN_PART
"""Pages of a long command that asks again."""


class Gate:
    """Every compression waits here until the test lets it through, and is told of by its first byte."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self._moved = threading.Condition()
        self._open = 0
        self._wide_open = False

    def pass_by(self, first_byte: int) -> None:
        """Wait to be let through."""
        with self._moved:
            self.came.append(first_byte)
            self._moved.notify_all()
            number = len(self.came)
            assert self._moved.wait_for(lambda: self._wide_open or self._open >= number, DEADLINE_S)

    def until_came(self, count: int) -> list[int]:
        """Wait until so many have come in all: their first bytes, in order."""
        with self._moved:
            assert self._moved.wait_for(lambda: len(self.came) >= count, DEADLINE_S), self.came
            return list(self.came)

    def let(self, count: int = 1) -> None:
        """Let so many more through."""
        with self._moved:
            self._open += count
            self._moved.notify_all()

    def open(self) -> None:
        """Let all through from now on."""
        with self._moved:
            self._wide_open = True
            self._moved.notify_all()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """In front of the codec."""
    made = Gate()
    compress, compress_single = PageCodec.compress, PageCodec.compress_single

    def held(self: PageCodec, data: Buffer) -> CompressedPages:
        made.pass_by(memoryview(data)[0])
        return compress(self, data)

    def held_single(self: PageCodec, page: bytes | memoryview) -> PackedPage:
        made.pass_by(page[0])
        return compress_single(self, page)

    monkeypatch.setattr(PageCodec, "compress", held)
    monkeypatch.setattr(PageCodec, "compress_single", held_single)
    yield made
    made.open()


def begin_write(host: Host, mark: int, pages: int, first: int = 0) -> Any:
    """A write whose pages all begin with this byte; its answer is not waited for."""
    request = memory_pb2.WriteRequest(
        dpas=dpas(first, pages), data=bytes((mark, *range(7), mark)).ljust(PAGE, b".") * pages, **host.ref
    )
    return host.bench.memory.Write.future(request, timeout=DEADLINE_S)


def until_waiting(bench: Bench, count: int) -> None:
    """Wait until so many commands wait for their turn."""
    turns = bench.service.turns
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.005)):
        if turns.waiting >= count:
            return
        pause.wait(0.005)
    raise AssertionError(f"{turns.waiting} wait, not {count}")


def test_a_polite_host_waits_for_one_part_of_a_greedy_one(each_transport: str, gate: Gate) -> None:
    """With one turn and eight long writes before it, over every transport: its turn is the next."""
    with bench_of(physical=32 * MIB, settings={"workers": 1}) as bench:
        greedy = bench.attach("greedy", pages=MANY)
        polite = [bench.attach(f"polite-{number}", pages=64) for number in range(SHORT_TURNS + 1)]
        writes = [begin_write(greedy, 1, MANY) for _ in range(8)]
        gate.until_came(1)
        until_waiting(bench, 7)
        shorts = []
        for number, host in enumerate(polite):
            shorts.append(begin_write(host, 2 + number, SMALL_PAGES + 1))
            if number < SHORT_TURNS:
                # Its host is next, and there is a turn for that: it waits for nobody.
                assert gate.until_came(2 + number)[-1] == 2 + number
        until_waiting(bench, 8)
        gate.let()
        # One part of the first write, and nothing else of it, was before the last of them.
        last = 2 + SHORT_TURNS
        assert gate.until_came(last)[-1] == last
        gate.let(len(polite))
        assert [write.result().accepted_pages for write in shorts] == [SMALL_PAGES + 1] * len(polite)
        gate.open()
        assert sum(one.result().accepted_pages for one in writes) == 8 * MANY
        # All of its parts: nobody's command was taken apart on the media.
        assert [host.read(0, 1)[0] for host in polite] == [2 + number for number in range(len(polite))]


def test_a_page_waits_for_no_large_command(each_transport: str, gate: Gate) -> None:
    """Of another host or of its own: there are turns for small ones."""
    with bench_of(physical=32 * MIB, settings={"workers": 2}) as bench:
        greedy, polite = bench.attach("greedy", pages=MANY + 1), bench.attach("polite", pages=64)
        writes = [begin_write(greedy, 1, MANY) for _ in range(6)]
        gate.until_came(2)
        until_waiting(bench, 4)
        pages = [begin_write(polite, 2, 1), begin_write(greedy, 3, 1, first=MANY)]
        assert sorted(gate.until_came(4)) == [1, 1, 2, 3]
        gate.open()
        assert all(page.result().accepted_pages == 1 for page in pages)
        assert all(one.result().accepted_pages == MANY for one in writes)


def test_nobody_waits_while_turns_are_free(gate: Gate) -> None:
    """One host has the whole machine if nobody else wants it."""
    with bench_of(physical=8 * MIB, settings={"workers": 3}) as bench:
        host = bench.attach()
        writes = [begin_write(host, 1, 16, first=16 * number) for number in range(3)]
        writes += [begin_write(host, 2, 1, first=100 + number) for number in range(SMALL_TURNS)]
        gate.until_came(3 + SMALL_TURNS)
        assert bench.service.turns.waiting == 0
        gate.open()
        assert [one.result().accepted_pages for one in writes] == [16, 16, 16, *[1] * SMALL_TURNS]


def test_a_turn_is_given_back_whatever_happens(bench: Bench) -> None:
    """A command that is refused, or breaks, or whose caller is gone, leaves none behind."""
    host = bench.attach(pages=512)
    assert refused(lambda: host.write(0, noise(300))).reason == "NO_MORE_WRITES"
    assert refused(lambda: host.read(5000, 1)).reason == "OUT_OF_RANGE"
    assert refused(lambda: host.trim(5000, 1)).reason == "OUT_OF_RANGE"
    assert bench.service.turns.queue.taken == bench.service.turns.waiting == 0
    host.trim(0, 512)
    assert host.write(0, prose(200)).accepted_pages == 200


def test_a_session_that_is_none_takes_no_turn(bench: Bench) -> None:
    """It is refused before anything is compressed for it."""
    request = memory_pb2.WriteRequest(
        dpas=[0], data=bytes(PAGE), session="nobody's", generation=bench.service.generation
    )
    assert refused(lambda: bench.memory.Write(request, timeout=DEADLINE_S)).reason == "UNKNOWN_SESSION"
    assert bench.service.turns.queue._hosts == {}


def test_every_page_of_parts_comes_back(each_transport: str) -> None:
    """Whatever number of pages: also where one page is left over."""
    with bench_of(physical=8 * MIB, max_pages_per_request=600) as bench:
        host = bench.attach(pages=600)
        for pages in (WRITTEN_PART, WRITTEN_PART + 1, 128, 129, 257, 385, 600):
            data = prose(pages - 1, pages) + noise(1, pages)
            assert host.write(0, data).accepted_pages == pages
            assert host.read(0, pages) == data


class Asking:
    """A command that wants a turn, and what it does when it has it."""

    def __init__(self, turns: Turns, work: Callable[[], object] = bool) -> None:
        self._turns = turns
        self._work = work
        self._thread: threading.Thread | None = None

    def ask(self, host: str, pages: int) -> None:
        """From now on it waits."""

        def work() -> None:
            with self._turns.of_pages(host, pages, written=True):
                self._work()

        before = self._turns.waiting
        self._thread = threading.Thread(target=work)
        self._thread.start()
        for _ in range(int(DEADLINE_S / 0.005)):
            if self._turns.waiting > before:
                return
            threading.Event().wait(0.005)
        raise AssertionError(f"{self._turns.waiting} wait, as before")

    def join(self) -> None:
        """It has ended."""
        assert self._thread is not None
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


def test_parts_are_large_while_nobody_waits_with_less() -> None:
    """A host's own commands may wait longer, and long ones of others; those of one part wait for a part."""
    turns = Turns(1)
    held, go = threading.Event(), threading.Event()
    own, long, short = Asking(turns), Asking(turns), Asking(turns, go.set)

    def hold_what_is_kept_for_the_next() -> None:
        with turns.of_pages("next", WRITTEN_PART, written=True):
            held.set()
            assert go.wait(DEADLINE_S)

    with turns.of_pages("a", 1000, written=True) as turn:
        assert turn.pages == AT_ONCE
        assert turn.next_part(700) == AT_ONCE
        assert turn.next_part(100) == 100
        own.ask("a", WRITTEN_PART)
        assert turn.next_part(700) == AT_ONCE
        long.ask("b", WRITTEN_PART + 1)
        assert turn.next_part(700) == AT_ONCE
        long.join()
        holding = threading.Thread(target=hold_what_is_kept_for_the_next)
        holding.start()
        assert held.wait(DEADLINE_S)
        short.ask("c", WRITTEN_PART)
        assert turn.next_part(700) == WRITTEN_PART
        short.join()
        holding.join(DEADLINE_S)
        assert turn.next_part(700) == AT_ONCE
    own.join()
    assert turns.queue.taken == turns.waiting == 0


def test_waiting_calls_of_one_host_leave_threads_for_others() -> None:
    """A host that floods a service from many connections is told; the next one's call is served."""
    pool = CountedPool(1, "test", spare=7)
    turns, go, full = Turns(1), threading.Event(), threading.Event()
    told: list[str] = []

    def work(host: str) -> None:
        try:
            with turns.of_pages(host, 100, written=True):
                assert go.wait(DEADLINE_S)
        except DeviceBusy as busy:
            told.append(str(busy))
            full.set()

    try:
        greedy = [pool.submit(work, "greedy") for _ in range(30)]
        assert full.wait(DEADLINE_S)
        polite = pool.submit(work, "polite")
        go.set()
        for one in (polite, *greedy):
            one.result(DEADLINE_S)
    finally:
        go.set()
        pool.shutdown(cancel_futures=True)
    assert "calls of this host wait for their turn" in told[0]
    assert turns.queue.taken == turns.waiting == 0


def test_in_flight_pages_leave_room_for_others() -> None:
    """However many hosts want all: whoever comes next finds some."""
    in_flight = InFlight(64 * PAGE)
    greedy = [f"greedy-{number}" for number in range(3)]
    turned_away = 0
    for _ in range(64):
        for host in greedy:
            try:
                in_flight.add(1, host)
            except DeviceBusy:
                turned_away += 1
    assert turned_away
    in_flight.add(12, "polite")
    assert in_flight.pages <= 64
