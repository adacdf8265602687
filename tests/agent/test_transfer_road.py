"""The agent's road over calls that stay open: what it falls back to, and when it gives up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from cramagent.roads import GrpcRoad
from cramagent.transfer_road import TransferRoad
from cramwire.v1 import memory_pb2, operator_pb2
from server_helpers import DEADLINE_S, PAGE, Bench, bench_of, dpas, prose, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.roads import Road


class Beside:
    """The calls by themselves, counted."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._road = GrpcRoad(channel)
        self.asked: list[str] = []

    def write(self, *args: Any, timeout: float) -> memory_pb2.WriteResponse:
        """See `Road`."""
        self.asked.append("write")
        return self._road.write(*args, timeout=timeout)

    def read(self, *args: Any, timeout: float) -> int:
        """See `Road`."""
        self.asked.append("read")
        return self._road.read(*args, timeout=timeout)

    def trim(self, *args: Any, timeout: float) -> memory_pb2.TrimResponse:
        """See `Road`."""
        self.asked.append("trim")
        return self._road.trim(*args, timeout=timeout)

    def flush(self, *args: Any, timeout: float) -> memory_pb2.FlushResponse:
        """See `Road`."""
        self.asked.append("flush")
        return self._road.flush(*args, timeout=timeout)


class Travels:
    """A host, and the road."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.host = bench, bench.attach()
        self.beside = Beside(bench.host_channel)
        self.road_beside = cast("Road", self.beside)
        self.road = TransferRoad(bench.host_channel, self.road_beside)

    def write(self, first: int, data: bytes, timeout: float = DEADLINE_S) -> memory_pb2.WriteResponse:
        """Pages from this number on."""
        return self.road.write(self.host, dpas(first, len(data) // PAGE), data, timeout=timeout)

    def read(self, first: int, pages: int) -> bytes:
        """Likewise."""
        got: list[bytes] = []
        self.road.read(
            self.host, dpas(first, pages), lambda data: got.append(bytes(data)), timeout=DEADLINE_S
        )
        return got[0]

    def until_at_rest(self) -> None:
        """Until the device waits for the next command; the answer came before."""
        until = monotonic() + DEADLINE_S
        while not self.bench.service.transfers._resting:
            assert monotonic() < until

    @property
    def open(self) -> int:
        """Calls that the device knows to be open."""
        return self.bench.service.open_transfers.taken


@contextmanager
def travels_of(**bench: Any) -> Iterator[Travels]:
    """On a bench of its own."""
    with bench_of(**bench) as made:
        travels = Travels(made)
        yield travels
        travels.road.close()
        assert made.service.open_transfers.wait_below(1)


@pytest.fixture
def travels() -> Iterator[Travels]:
    """On a bench as it comes."""
    with travels_of() as made:
        yield made


def test_one_call_serves_one_thread(travels: Travels) -> None:
    """However much it asks; FLUSH alone goes beside it."""
    for number in range(5):
        travels.write(number * 3, prose(3, number))
    assert travels.read(12, 3) == prose(3, 4)
    assert travels.road.trim(travels.host, [(0, PAGE)], timeout=DEADLINE_S).trimmed_pages == 1
    travels.road.flush(travels.host, timeout=DEADLINE_S)
    assert travels.open == 1
    assert travels.beside.asked == ["flush"]


def test_a_refusal_leaves_the_call_open(travels: Travels) -> None:
    """It is raised as that of a call by itself is, and names the request."""
    refusal = refused(partial(travels.write, 1 << 20, prose(1)))
    assert (refusal.reason, refusal.request_id[:6]) == ("OUT_OF_RANGE", "bytes:")
    travels.write(0, prose(1))
    assert (travels.open, travels.beside.asked) == (1, [])


def test_several_threads_have_calls_of_their_own(travels: Travels) -> None:
    """Up to a bound; more go beside them, and nobody waits for another."""

    def work(number: int) -> bytes:
        for turn in range(5):
            travels.write(number * 8, prose(8, 10 * number + turn))
        return travels.read(number * 8, 8)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(work, range(8)))
    assert found == [prose(8, 10 * number + 4) for number in range(8)]
    assert 1 <= travels.open <= 4


def test_a_call_that_the_device_ended_is_repeated_beside(travels: Travels) -> None:
    """No error: the command is asked again by itself. For a while others are, too."""
    travels.write(0, prose(1, 1))
    travels.until_at_rest()
    travels.bench.service.transfers.end_resting()
    assert travels.bench.service.open_transfers.wait_below(1)
    travels.write(0, prose(1, 2))
    assert travels.read(0, 1) == prose(1, 2)
    assert travels.beside.asked == ["write", "read"]


def test_a_device_that_has_no_room_is_asked_beside() -> None:
    """Its refusal is none of the command's."""
    with travels_of(settings={"max_transfers": 4, "max_transfers_host": 1}) as travels:
        first, second = travels.road, TransferRoad(travels.bench.host_channel, travels.road_beside)
        travels.write(0, prose(1))
        travels.road = second
        assert travels.read(0, 1) == prose(1)
        assert travels.beside.asked == ["read"]
        second.close()
        travels.road = first


class Older:
    """A channel to a device that knows of no open calls."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.tried = 0

    def stream_stream(self, _method: str, **rest: Any) -> Any:
        """Ask for what is not there."""
        self.tried += 1
        return self._channel.stream_stream("/cramwire.v1.MemoryService/Carry", **rest)


def test_a_device_without_such_calls_is_asked_once(travels: Travels) -> None:
    """Then never again."""
    older = Older(travels.bench.host_channel)
    travels.road.close()
    travels.road = TransferRoad(cast("grpc.Channel", older), travels.road_beside)
    for _ in range(3):
        travels.write(0, prose(1))
    assert older.tried == 1
    assert travels.beside.asked == ["write"] * 3


def test_an_answer_that_is_late_ends_the_call(travels: Travels) -> None:
    """Its command is given up as one by itself is: DEADLINE_EXCEEDED, and nothing of it happens any more."""
    travels.write(0, prose(1, 1))
    travels.bench.inject(unanswered_command=operator_pb2.UnansweredCommandFault())
    refusal = refused(partial(travels.write, 0, prose(1, 2), 0.2))
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert refusal.request_id.startswith("bytes:")
    travels.bench.clear()
    assert travels.bench.service.open_transfers.wait_below(1)
    assert travels.read(0, 1) == prose(1, 1)


def test_a_device_that_is_away_is_told_of(travels: Travels) -> None:
    """UNAVAILABLE, as any call would be; it is found again when it is back."""
    gone = grpc.insecure_channel("127.0.0.1:1")
    road = TransferRoad(gone, GrpcRoad(gone))
    refusal = refused(partial(road.write, travels.host, dpas(0, 1), prose(1), timeout=DEADLINE_S))
    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    road.close()
    gone.close()


def test_a_closed_road_goes_beside(travels: Travels) -> None:
    """Whoever is in a call is answered; no other is opened."""
    travels.write(0, prose(1))
    travels.road.close()
    assert travels.read(0, 1) == prose(1)
    assert travels.beside.asked == ["read"]


def test_a_reader_that_raises_costs_nobody_the_call(travels: Travels) -> None:
    """What is done with the pages is the caller's own."""
    travels.write(0, prose(1))

    def broken(_data: bytes | memoryview) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        travels.road.read(travels.host, dpas(0, 1), broken, timeout=DEADLINE_S)
    assert travels.read(0, 1) == prose(1)
    assert travels.open == 1
