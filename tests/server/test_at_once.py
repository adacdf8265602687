"""Small commands of one message go together, and nobody can tell but by the time that it takes."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import generate_latest

from cramwire.page_messages import pack_dpas
from cramwire.transfer_messages import put_write_command
from cxldevd.small_commands import SmallCommands
from server_helpers import DEADLINE_S, PAGE, Bench, Host, bench_of, noise, prose
from stall_helpers import stalled_codec
from transfer_helpers import Open, read, together, trim, waits_for, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramwire.page_messages import PageRequest


@pytest.fixture
def transfer(bench: Bench) -> Iterator[Open]:
    """An open call, ended with the test."""
    opened = Open(bench.host_channel)
    yield opened
    opened.call.cancel()


@pytest.fixture
def gone_together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands went together, each time that some did."""
    counts: list[int] = []

    def counting(method: Any) -> Any:
        def counted(self: SmallCommands, requests: Sequence[PageRequest], *more: Any) -> Any:
            done = method(self, requests, *more)
            if done is not None:
                counts.append(len(requests))
            return done

        return counted

    monkeypatch.setattr(SmallCommands, "store", counting(SmallCommands.store))
    monkeypatch.setattr(SmallCommands, "load", counting(SmallCommands.load))
    return counts


def why(transfer: Open) -> tuple[str, dict[str, Any]]:
    """Reason of the next answer, which is a refusal, and what it says in numbers."""
    refusal = transfer.answer()
    return refusal.reason, refusal.metadata


def test_writes_and_reads_go_together(host: Host, transfer: Open, gone_together: list[int]) -> None:
    """Those of a kind that stand behind one another. TRIMs, and large writes, are carried out alone."""
    data = prose(64, 1) + noise(16) + bytes(8 * PAGE) + prose(100, 2)
    at, sizes = 0, (64, 16, 8, 100)
    writes, reads = [], []
    for size in sizes:
        writes.append(write(host, at, data[at * PAGE : (at + size) * PAGE]))
        reads.append(read(host, at, size))
        at += size
    transfer.send(together(*writes), together(*reads), together(trim(host, 0, 1), reads[1], read(host, 0, 1)))
    assert [transfer.answer().accepted_pages for _ in sizes] == list(sizes)
    assert b"".join(bytes(transfer.answer().data) for _ in sizes) == data
    assert transfer.answer().trimmed_pages == 1
    assert bytes(transfer.answer().data) == data[64 * PAGE : 80 * PAGE]
    assert bytes(transfer.answer().data) == bytes(PAGE)
    assert gone_together == [3, 4, 2]
    host.bench.audit()


def test_they_are_counted_one_by_one(
    bench: Bench, host: Host, transfer: Open, gone_together: list[int]
) -> None:
    """By how they ended, and how long that took; each has a device time of its own."""
    transfer.send(together(*[write(host, page, prose(2, page)) for page in (0, 2, 4)]))
    assert [transfer.answer().device_ns > 0 for _ in range(3)] == [True] * 3
    transfer.send(together(read(host, 0, 2), read(host, 2, 1)))
    assert [transfer.answer().device_ns > 0 for _ in range(2)] == [True] * 2
    metrics, counters = bench.service._requests, bench.service.runtime._device.counters
    waits_for(lambda: not metrics.running_now()["read"])
    assert metrics.ended_by_code()["write", "OK"] == 3
    assert metrics.ended_by_code()["read", "OK"] == 2
    assert (counters.write_requests, counters.written_pages) == (3, 6)
    assert (counters.read_requests, counters.read_pages) == (2, 3)
    assert gone_together == [3, 2]
    scraped = generate_latest(bench.service.registry).decode()
    assert 'cxldev_request_wall_seconds_count{operation="write"} 3.0' in scraped
    assert 'cxldev_request_device_seconds_count{operation="read"} 2.0' in scraped


def test_one_page_in_two_writes_of_a_message(host: Host, transfer: Open, gone_together: list[int]) -> None:
    """The later one wins: they do not go together."""
    transfer.send(together(write(host, 0, prose(2, 1)), write(host, 1, prose(2, 2)), read(host, 0, 3)))
    assert [transfer.answer().accepted_pages for _ in range(2)] == [2, 2]
    assert bytes(transfer.answer().data) == prose(2, 1)[:PAGE] + prose(2, 2)
    assert gone_together == []


def test_a_lost_page_is_told_to_whom_it_concerns(bench: Bench, host: Host, transfer: Open) -> None:
    """One that is known to be lost, and one whose damage is found while it is read: the others get theirs."""
    host.write(0, prose(6))
    bench.inject(poison={"host": host.name, "dpas": [PAGE]})
    power = bench.service.runtime._device.power
    table = next(iter(power.regions)).table
    power.arena.memory[table.place.item(4) + 20] ^= 1
    transfer.send(together(read(host, 2, 1), read(host, 0, 2), read(host, 3, 1)))
    assert bytes(transfer.answer().data) == prose(6)[2 * PAGE : 3 * PAGE]
    assert why(transfer)[0] == "POISONED"
    assert bytes(transfer.answer().data) == prose(6)[3 * PAGE : 4 * PAGE]
    bench.service.runtime._device.power.latency.forget(1, np.arange(6))
    transfer.send(together(read(host, 2, 2), read(host, 4, 1), read(host, 5, 1)))
    slow = transfer.answer()
    assert bytes(slow.data) == prose(6)[2 * PAGE : 4 * PAGE]
    assert slow.device_ns > 600, "the block cache does not remember what came to nothing"
    assert why(transfer)[0] == "POISONED"
    assert bytes(transfer.answer().data) == prose(6)[5 * PAGE :]
    bench.audit()


def test_media_that_is_short_is_told_to_whom_it_concerns() -> None:
    """The first write fits, the second in part, the third not at all: each says how much was accepted."""
    with bench_of(physical=256 * PAGE) as bench:
        host = bench.attach(pages=512)
        host.write(0, noise(238))
        transfer = Open(bench.host_channel)
        transfer.send(together(*[write(host, 240 + 10 * part, noise(10, part)) for part in range(3)]))
        assert transfer.answer().accepted_pages == 10
        partly, not_at_all = why(transfer), why(transfer)
        assert (partly[0], not_at_all[0]) == ("NO_MORE_WRITES", "NO_MORE_WRITES")
        accepted = int(partly[1]["accepted_pages"])
        assert 0 < accepted < 10
        assert int(not_at_all[1]["accepted_pages"]) == 0
        assert host.read(240, 10 + accepted) == noise(10, 0) + noise(10, 1)[: accepted * PAGE]
        assert bench.status().counters.refused_pages == 20 - accepted
        bench.audit()
        transfer.call.cancel()


def test_one_that_cannot_go_with_others_is_tried_once(
    bench: Bench, host: Host, transfer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or 64 small commands would be as much work as 64 large ones, for nothing."""
    tried: list[int] = []
    load = SmallCommands.load

    def counted(self: SmallCommands, requests: Sequence[PageRequest], reply: Any, caller: Any) -> Any:
        tried.append(len(requests))
        return load(self, requests, reply, caller)

    monkeypatch.setattr(SmallCommands, "load", counted)
    host.write(0, prose(70))
    bench.inject(poison={"host": host.name, "dpas": [31 * PAGE]})
    transfer.send(together(*[read(host, page, 1) for page in range(32)], trim(host, 0, 1), read(host, 1, 1)))
    for page in range(31):
        assert bytes(transfer.answer().data) == prose(70)[page * PAGE : (page + 1) * PAGE]
    assert why(transfer)[0] == "POISONED"
    assert transfer.answer().trimmed_pages == 1
    assert bytes(transfer.answer().data) == prose(70)[PAGE : 2 * PAGE]
    assert tried == [32]


def test_a_bug_is_one_commands(
    bench: Bench, host: Host, transfer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong with several is tried one by one; what fails by itself says so; the call goes on."""

    def broken(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(bench.service.runtime._device.power.arena, "put", broken)
    transfer.send(together(write(host, 0, prose(1)), write(host, 1, prose(2)), read(host, 0, 1)))
    assert transfer.answer().accepted_pages == 1
    assert transfer.answer().code.name == "INTERNAL"
    assert bytes(transfer.answer().data) == prose(1)


def test_a_fault_meets_each_of_them(
    bench: Bench, host: Host, transfer: Open, gone_together: list[int]
) -> None:
    """While one is armed they are carried out one by one; it is cleared by the first."""
    bench.inject(refused_command={}, scope={"count": 1})
    transfer.send(together(write(host, 0, prose(1)), write(host, 1, prose(1)), write(host, 2, prose(1))))
    assert why(transfer)[0] == "COMMAND_REFUSED"
    assert [transfer.answer().accepted_pages for _ in range(2)] == [1, 1]
    assert gone_together == []


def test_what_was_given_up_stores_nothing(
    bench: Bench, host: Host, transfer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is gone when the pages are compressed may have stored newer bytes."""
    with stalled_codec(monkeypatch) as stall:
        transfer.send(together(write(host, 0, prose(1, 1)), write(host, 1, prose(1, 1))))
        assert stall.reached.wait(DEADLINE_S)
        transfer.call.cancel()
        health_pb2_grpc.HealthStub(bench.host_channel).Check(health_pb2.HealthCheckRequest(), timeout=9)
        host.write(0, prose(2, 2))
        stall.go.set()
        assert bench.service.open_transfers.wait_below(1)
    assert host.read(0, 2) == prose(2, 2)


def test_what_was_given_up_is_not_read(
    bench: Bench, host: Host, transfer: Open, gone_together: list[int]
) -> None:
    """It waited for its turn until nobody wanted it."""
    with bench.service.turns.of_pages("another", 256, written=True), ExitStack() as turns:
        for number in range(bench.service.settings.workers - 1):
            turns.enter_context(bench.service.turns.of_pages(f"another-{number}", 256, written=True))
        transfer.send(together(read(host, 0, 100), read(host, 100, 100)))
        waits_for(lambda: bench.service.turns.waiting)
        transfer.call.cancel()
        health_pb2_grpc.HealthStub(bench.host_channel).Check(health_pb2.HealthCheckRequest(), timeout=9)
    assert bench.service.open_transfers.wait_below(1)
    assert gone_together == []
    assert bench.service.runtime._device.counters.read_requests == 0


def test_a_session_that_ends_meanwhile(
    bench: Bench, host: Host, transfer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them is told, and the call ends."""
    with stalled_codec(monkeypatch) as stall:
        transfer.send(together(write(host, 0, prose(1)), write(host, 1, prose(1))))
        assert stall.reached.wait(DEADLINE_S)
        host.detach()
        stall.go.set()
        assert why(transfer)[0] == "SESSION_ENDED"
        with pytest.raises((grpc.RpcError, StopIteration)):
            transfer.answer()


def test_two_sessions_in_one_message(
    bench: Bench, host: Host, transfer: Open, gone_together: list[int]
) -> None:
    """Only what one session asks for goes together."""
    other = bench.attach("host-b")
    mine, theirs = ([write(one, page, prose(1, page)) for page in (0, 1)] for one in (host, other))
    transfer.send(together(*mine, *theirs, read(host, 0, 2), read(other, 0, 2)))
    assert [transfer.answer().accepted_pages for _ in range(4)] == [1] * 4
    assert [len(transfer.answer().data) for _ in range(2)] == [2 * PAGE] * 2
    assert gone_together == [2, 2]


def test_with_time_dilation_each_takes_its_time(gone_together: list[int]) -> None:
    """So none of them goes with another."""
    with bench_of(settings={"time_dilation": 1.0}) as bench:
        host = bench.attach()
        transfer = Open(bench.host_channel)
        done = threading.Event()

        def answers() -> None:
            transfer.send(together(write(host, 0, prose(1)), write(host, 1, prose(1))))
            for _ in range(2):
                assert transfer.answer().accepted_pages == 1
            done.set()

        threading.Thread(target=answers, daemon=True).start()
        while not done.wait(0.01):
            bench.clock.advance(1_000_000)
        transfer.call.cancel()
    assert gone_together == []


def test_wrong_ones_are_told_what_is_wrong(host: Host, transfer: Open) -> None:
    """Beside right ones, which are carried out."""
    short = write(host, 0, prose(2))[:-PAGE]
    wrong_length = put_write_command(host.session, host.generation, pack_dpas([0, PAGE]), (prose(1),))
    transfer.send(together(write(host, 5, prose(1)), wrong_length, write(host, 6, prose(1))))
    assert transfer.answer().accepted_pages == 1
    assert why(transfer)[0] == "DATA_LENGTH"
    assert transfer.answer().accepted_pages == 1
    transfer.send(together(write(host, 0, prose(1)), write(host, 300, prose(1)), write(host, 1, prose(1))))
    assert transfer.answer().accepted_pages == 1
    assert why(transfer)[0] == "OUT_OF_RANGE"
    assert transfer.answer().accepted_pages == 1
    transfer.send(together(read(host, 0, 1), read(host, 300, 1), read(host, 1, 1)), together(short, short))
    assert bytes(transfer.answer().data) == prose(1)
    assert why(transfer)[0] == "OUT_OF_RANGE"
    assert bytes(transfer.answer().data) == prose(1)
    assert transfer.end().reason == "INVALID_FIELD"
