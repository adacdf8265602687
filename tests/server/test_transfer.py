"""MemoryService.Transfer: commands on an open call. What each of them does, the other tests tell."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cramwire.refusal import Refusal, read_refusal
from cramwire.transport import COMMANDS_PER_MESSAGE, TOGETHER_BYTES
from cramwire.v1 import memory_pb2, operator_pb2
from server_helpers import DEADLINE_S, PAGE, SECOND, Bench, Host, bench_of, noise, prose
from stall_helpers import stalled_codec
from transfer_helpers import Open, read, together, trim, waits_for, write

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600 * SECOND


def outcome(opened: Open) -> str:
    """Why the first command has no answer; empty: it has one."""
    try:
        opened.answer()
    except grpc.RpcError as error:
        return read_refusal(error).reason
    return ""


@pytest.fixture
def transfer(bench: Bench) -> Iterator[Open]:
    """An open call, ended with the test."""
    opened = Open(bench.host_channel)
    yield opened
    opened.call.cancel()
    opened.no_more()


def test_answers_come_in_the_order_of_the_commands(host: Host, transfer: Open) -> None:
    """All were sent before the first was answered; each sees what those before it did."""
    data = prose(5) + noise(2)
    transfer.send(
        write(host, 3, data), read(host, 3, 7), trim(host, 4, 1), read(host, 4, 1), read(host, 3, 1)
    )
    transfer.no_more()
    written, found, trimmed, gone, one = (transfer.answer() for _ in range(5))
    assert isinstance(written, memory_pb2.WriteResponse)
    assert written.accepted_pages == 7
    assert bytes(found.data) == data
    assert trimmed.trimmed_pages == 1
    assert bytes(gone.data) == bytes(PAGE)
    assert bytes(one.data) == data[:PAGE]
    with pytest.raises(StopIteration):
        transfer.answer()
    assert transfer.call.code() is grpc.StatusCode.OK


def test_a_refused_command_does_not_end_the_call(host: Host, transfer: Open) -> None:
    """It is told the same as by a call by itself, its details and the name of the request with it."""
    transfer.send(read(host, 1 << 20, 1), write(host, 0, prose(1)))
    refusal = transfer.answer()
    assert isinstance(refusal, Refusal)
    assert (refusal.code.name, refusal.reason) == ("OUT_OF_RANGE", "OUT_OF_RANGE")
    assert refusal.request_id.startswith("bytes:")
    assert isinstance(transfer.answer(), memory_pb2.WriteResponse)


@pytest.mark.parametrize("message", [b"", b"\x9a\x06\x00"], ids=["empty", "a later kind"])
def test_a_command_that_is_not_known_is_refused(host: Host, transfer: Open, message: bytes) -> None:
    """As the first one, which says whose call it is, that is the end; behind another it is not."""
    transfer.send(write(host, 0, prose(1)), message, read(host, 0, 1))
    transfer.answer()
    refusal = transfer.answer()
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "INVALID_FIELD"
    assert bytes(transfer.answer().data) == prose(1)
    first = Open(host.bench.host_channel)
    first.send(message)
    assert first.answer().reason == "INVALID_FIELD"
    with pytest.raises(StopIteration):
        first.answer()
    first.no_more()


@pytest.mark.parametrize("at", [0, 1])
def test_bytes_that_are_no_message_end_the_call(bench: Bench, host: Host, transfer: Open, at: int) -> None:
    """Whatever came before is answered; what follows is not carried out."""
    transfer.send(*[read(host, 0, 1)] * at, b"\xff\xff\xff\xff", write(host, 0, prose(1)))
    for _ in range(at):
        transfer.answer()
    refusal = transfer.end()
    assert (refusal.code.name, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert bench.service.open_transfers.wait_below(1)
    assert host.read(0, 1) == bytes(PAGE)


def test_the_end_of_a_session_ends_its_calls(bench: Bench, host: Host, transfer: Open) -> None:
    """The command that meets it is told; and a call that begins with such a command."""
    transfer.send(read(host, 0, 1))
    transfer.answer()
    bench.reset()
    opened = Open(bench.host_channel)
    for one in (transfer, opened):
        one.send(read(host, 0, 1), read(host, 0, 1))
        assert one.answer().reason == "STALE_GENERATION"
        with pytest.raises(StopIteration):
            one.answer()
        one.no_more()
    assert bench.service.open_transfers.wait_below(1)


def test_more_than_there_may_be_are_refused() -> None:
    """Of one host, and of all; one that ends makes room. Calls by themselves go on."""
    with bench_of(settings={"max_transfers": 8, "max_transfers_host": 2}) as bench:
        hosts = [bench.attach(f"host-{number}", pages=16) for number in range(5)]
        opened = [Open(bench.host_channel) for _ in range(3)]
        for one in opened:
            one.send(read(hosts[0], 0, 1))
        assert sorted(map(outcome, opened)) == ["", "", "DEVICE_BUSY"]
        others = [Open(bench.host_channel) for _ in range(8)]
        for number, one in enumerate(others):
            one.send(read(hosts[1 + number % 4], 0, 1))
        said = list(map(outcome, others))
        assert said.count("") == 6
        assert said.count("DEVICE_BUSY") == 2
        assert hosts[0].write(0, prose(1)).accepted_pages == 1
        for one in opened + others:
            one.call.cancel()
            one.no_more()
        assert bench.service.open_transfers.wait_below(1)
        again = Open(bench.host_channel)
        again.send(read(hosts[0], 0, 1))
        assert bytes(again.answer().data) == prose(1)
        again.no_more()


def test_calls_at_rest_keep_nobody_waiting() -> None:
    """One worker, and open calls beside it: commands of all take turns with calls by themselves."""
    with bench_of(settings={"workers": 1}) as bench:
        host = bench.attach()
        opened = [Open(bench.host_channel) for _ in range(6)]
        for number, one in enumerate(opened):
            one.send(write(host, number, prose(1, number)))
        for one in opened:
            one.answer()
        assert host.read(0, 6) == b"".join(prose(1, number) for number in range(6))
        for one in opened:
            one.no_more()


def test_commands_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more large ones are carried out at one time than there are workers, however many calls are open."""
    with bench_of(settings={"workers": 1}) as bench, stalled_codec(monkeypatch) as stall:
        host = bench.attach()
        first, second = Open(bench.host_channel), Open(bench.host_channel)
        first.send(write(host, 0, prose(16, 1)))
        assert stall.reached.wait(DEADLINE_S)
        second.send(write(host, 16, prose(16, 2)))
        waits_for(lambda: bench.service._requests.running_now()["write"] == 2)
        assert stall.passed == 1
        stall.go.set()
        for one in (first, second):
            assert isinstance(one.answer(), memory_pb2.WriteResponse)
            one.no_more()


def test_a_command_that_was_given_up_stores_nothing_late(
    bench: Bench, host: Host, transfer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does what was sent behind it. On one connection the device hears of that before any later call."""
    with stalled_codec(monkeypatch) as stall:
        transfer.send(write(host, 0, prose(1, 1)), write(host, 1, prose(1, 1)))
        assert stall.reached.wait(DEADLINE_S)
        transfer.call.cancel()
        health_pb2_grpc.HealthStub(bench.host_channel).Check(health_pb2.HealthCheckRequest(), timeout=9)
        host.write(0, prose(2, 2))
        stall.go.set()
        assert bench.service.open_transfers.wait_below(1)
    assert host.read(0, 2) == prose(2, 2)


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_lost_answer_holds_up_what_is_behind_it(
    bench: Bench, host: Host, transfer: Open, carried_out: bool
) -> None:
    """Until the fault is cleared: then it is UNAVAILABLE, and the call goes on. Other calls do meanwhile."""
    fault = operator_pb2.UnansweredCommandFault(carried_out=carried_out)
    scope = operator_pb2.FaultScope(operations=[operator_pb2.OPERATION_WRITE], count=1)
    bench.inject(unanswered_command=fault, scope=scope)
    transfer.send(write(host, 0, prose(1)), read(host, 0, 1))
    waits_for(lambda: bench.service.losses.held == 1)
    assert host.read(8, 1) == bytes(PAGE)
    bench.clear()
    refusal = transfer.answer()
    assert isinstance(refusal, Refusal)
    assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "")
    assert bytes(transfer.answer().data) == (prose(1) if carried_out else bytes(PAGE))


def test_a_drain_ends_calls_at_rest_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way is answered first, and what is behind that is not carried out."""
    with bench_of() as bench, stalled_codec(monkeypatch) as stall:
        host = bench.attach()
        resting, working = Open(bench.host_channel), Open(bench.host_channel)
        resting.send(read(host, 0, 1))
        resting.answer()
        working.send(write(host, 0, prose(1)), write(host, 1, prose(1)))
        assert stall.reached.wait(DEADLINE_S)
        drain = threading.Thread(target=bench.service.drain)
        drain.start()
        end = resting.end()
        assert end.code is grpc.StatusCode.UNAVAILABLE
        assert "the service is shutting down" in end.message
        stall.go.set()
        assert isinstance(working.answer(), memory_pb2.WriteResponse)
        end = working.end()
        assert (end.code.name, end.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
        drain.join(DEADLINE_S)
        assert bench.service.open_transfers.taken == 0
        assert stall.passed == 1


def test_commands_are_counted_as_calls_are(bench: Bench, host: Host, transfer: Open) -> None:
    """By what they do, and how they end; the open call itself as what runs."""
    transfer.send(write(host, 0, prose(1)), read(host, 1 << 20, 1))
    transfer.answer()
    transfer.answer()
    metrics = bench.service._requests
    waits_for(lambda: not metrics.running_now()["read"])
    assert metrics.ended_by_code()["write", "OK"] == 1
    assert metrics.ended_by_code()["read", "OUT_OF_RANGE"] == 1
    assert metrics.running_now()["transfer"] == 1


def test_calls_that_never_send_a_command_make_room(bench: Bench, host: Host) -> None:
    """More of them than there are threads: they are ended, and who comes later is served."""
    silent = [Open(bench.host_channel) for _ in range(80)]
    opened = Open(bench.host_channel)
    opened.send(write(host, 0, prose(1)))
    assert isinstance(opened.answer(), memory_pb2.WriteResponse)
    assert host.read(0, 1) == prose(1)
    for one in (*silent, opened):
        one.call.cancel()
        one.no_more()


def test_who_never_reads_answers_costs_only_itself(bench: Bench, host: Host) -> None:
    """Its call stands still, and holds neither a place nor pages in flight."""
    stubborn = Open(bench.host_channel)
    stubborn.send(*[read(host, 0, 256)] * 64)
    other = Open(bench.channel(bench.service.address, [("grpc.use_local_subchannel_pool", 1)]))
    for number in range(20):
        other.send(write(host, 0, prose(8, number)), read(host, 0, 8))
        other.answer()
        assert bytes(other.answer().data) == prose(8, number)
    stubborn.call.cancel()
    for one in (stubborn, other):
        one.no_more()
    assert bench.service.open_transfers.wait_below(1)


def test_several_commands_in_a_message_are_as_if_each_had_its_own(host: Host, transfer: Open) -> None:
    """In order, a refused one does not stop those behind it, and the answers come together."""
    data = prose(5) + noise(2)
    transfer.send(
        together(
            write(host, 3, data),
            read(host, 3, 7),
            read(host, 1 << 20, 2),
            trim(host, 4, 1),
            read(host, 4, 1),
            b"\x9a\x06\x00",
        ),
        read(host, 3, 2),
    )
    written, found, refused, trimmed, gone, unknown, behind = (transfer.answer() for _ in range(7))
    assert written.accepted_pages == 7
    assert bytes(found.data) == data
    assert (refused.reason, refused.request_id[:6]) == ("OUT_OF_RANGE", "bytes:")
    assert trimmed.trimmed_pages == 1
    assert bytes(gone.data) == bytes(PAGE)
    assert unknown.reason == "INVALID_FIELD"
    assert bytes(behind.data) == data[:PAGE] + bytes(PAGE)
    metrics = host.bench.service._requests
    waits_for(lambda: not metrics.running_now()["read"])
    assert metrics.ended_by_code()["write", "OK"] == 1
    assert metrics.ended_by_code()["read", "OK"] == 3
    assert metrics.ended_by_code()["read", "OUT_OF_RANGE"] == 1
    assert transfer.received <= 3


def test_answers_that_are_large_go_by_themselves(host: Host, transfer: Open) -> None:
    """Small ones together, up to a MiB and a quarter: no end of either is kept in memory."""
    data = prose(256)
    transfer.send(together(write(host, 0, data), *[read(host, 0, 256)] * 3, *[read(host, 0, 64)] * 7))
    assert transfer.answer().accepted_pages == 256
    for _ in range(3):
        assert bytes(transfer.answer().data) == data
    for _ in range(7):
        assert bytes(transfer.answer().data) == data[: 64 * PAGE]
    assert transfer.received == 5


@pytest.mark.parametrize("sizes", [(64, 64, 64, 64), (255, 65), (1,) * 64])
def test_a_full_message_is_answered_in_one(host: Host, transfer: Open, sizes: tuple[int, ...]) -> None:
    """Reads that a host may send together are answered together: a second answer would cost as much again."""
    assert sum(sizes) * PAGE <= TOGETHER_BYTES
    transfer.send(together(*[read(host, 0, pages) for pages in sizes]))
    for pages in sizes:
        assert len(transfer.answer().data) == pages * PAGE
    assert transfer.received == 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("many", "TOO_MANY"),
        ("mixed", "INVALID_FIELD"),
    ],
)
def test_a_message_that_asks_for_too_much_is_refused_whole(
    host: Host, transfer: Open, message: str, reason: str
) -> None:
    """Once, and nothing of it happens; the call goes on."""
    one = write(host, 0, prose(1))
    wrong = together(*[one] * (COMMANDS_PER_MESSAGE + 1)) if message == "many" else one + together(one, one)
    transfer.send(read(host, 0, 1), wrong, read(host, 0, 1), together(*[one] * COMMANDS_PER_MESSAGE))
    transfer.answer()
    refusal = transfer.answer()
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert bytes(transfer.answer().data) == bytes(PAGE)
    for _ in range(COMMANDS_PER_MESSAGE):
        assert transfer.answer().accepted_pages == 1


def test_a_command_in_a_command_is_none(host: Host, transfer: Open) -> None:
    """Several do not go inside one another."""
    inner = together(write(host, 0, prose(1)), write(host, 1, prose(1)))
    transfer.send(together(read(host, 0, 1), inner, read(host, 0, 2)))
    transfer.answer()
    assert transfer.answer().reason == "INVALID_FIELD"
    assert bytes(transfer.answer().data) == bytes(2 * PAGE)


def test_garbage_among_several_commands_ends_the_call(host: Host, transfer: Open) -> None:
    """It is no message: nothing of it happens, those in front neither."""
    transfer.send(together(write(host, 0, prose(1)), b"\xff\xff\xff\xff"))
    refusal = transfer.end()
    assert (refusal.code.name, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert host.bench.service.open_transfers.wait_below(1)
    assert host.read(0, 1) == bytes(PAGE)


def test_a_session_that_ends_among_several_commands_ends_the_call(bench: Bench, host: Host) -> None:
    """The command that meets it is told, and those behind it have no answer."""
    other = bench.attach("other")
    opened = Open(bench.host_channel)
    opened.send(read(other, 0, 1))
    opened.answer()
    host.detach()
    opened.send(together(write(other, 0, prose(1)), read(host, 0, 1), write(other, 0, prose(1, 2))))
    assert opened.answer().accepted_pages == 1
    assert opened.answer().reason == "SESSION_ENDED"
    with pytest.raises(StopIteration):
        opened.answer()
    opened.no_more()
    assert other.read(0, 1) == prose(1)


@pytest.mark.parametrize("fault", ["lost", "late"])
def test_answers_do_not_wait_for_one_that_a_fault_keeps_back(
    bench: Bench, host: Host, transfer: Open, fault: str
) -> None:
    """Those before it leave first; those behind it come behind it."""
    scope = operator_pb2.FaultScope(operations=[operator_pb2.OPERATION_WRITE], count=1)
    if fault == "lost":
        bench.inject(unanswered_command=operator_pb2.UnansweredCommandFault(), scope=scope)
    else:
        bench.inject(latency=operator_pb2.LatencyFault(wall_ns=HOUR), scope=scope)
    transfer.send(together(*[read(host, 0, 2)] * 2, write(host, 0, prose(2)), read(host, 0, 2)))
    for _ in range(2):
        assert bytes(transfer.answer().data) == bytes(2 * PAGE)
    assert bench.service._requests.running_now()["write"] == 1
    assert transfer.received == 1
    if fault == "lost":
        waits_for(lambda: bench.service.losses.held == 1)
        bench.clear()
        assert transfer.answer().code is grpc.StatusCode.UNAVAILABLE
        assert bytes(transfer.answer().data) == bytes(2 * PAGE)
    else:
        transfer.call.cancel()
        assert bench.service.open_transfers.wait_below(1)
        assert host.read(0, 2) == prose(2)


def test_a_drain_ends_a_message_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the command under way: it is answered, with all before it, and what is behind is not begun."""
    with bench_of() as bench, stalled_codec(monkeypatch) as stall:
        host = bench.attach()
        working = Open(bench.host_channel)
        first, behind = write(host, 0, prose(1)), write(host, 1, prose(1))
        working.send(together(read(host, 0, 1), first, read(host, 0, 1), behind))
        assert stall.reached.wait(DEADLINE_S)
        drain = threading.Thread(target=bench.service.drain)
        drain.start()
        waits_for(lambda: bench.service.runtime.draining)
        stall.go.set()
        assert bytes(working.answer().data) == bytes(PAGE)
        assert working.answer().accepted_pages == 1
        end = working.end()
        assert (end.code.name, end.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
        drain.join(DEADLINE_S)
        assert stall.passed == 1
