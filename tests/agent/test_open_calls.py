"""Commands of one host that share its open calls, over a real port."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramagent.open_calls import Asked, OpenCalls
from cramagent.transfer import TransferBroken
from cramwire.page_messages import ReadPages, pack_dpas
from cramwire.refusal import Refused, read_refusal
from cramwire.transfer_messages import CommandParts, read_parts, trim_parts, write_parts
from cramwire.transport import COMMANDS_PER_MESSAGE
from cramwire.v1 import memory_pb2, operator_pb2, types_pb2
from server_helpers import DEADLINE_S, PAGE, Bench, bench_of, dpas, prose
from stall_helpers import stalled_codec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shared:
    """A host, its open calls, and the messages that went over them."""

    def __init__(self, bench: Bench, most_open: int) -> None:
        self.bench, self.host = bench, bench.attach()
        self.messages: list[bytes] = []
        self.calls = OpenCalls(_Counted(bench.host_channel, self.messages), most_open)
        self.calls.together(COMMANDS_PER_MESSAGE)

    def write(self, first: int, data: bytes) -> CommandParts:
        """A command."""
        addresses = pack_dpas(dpas(first, len(data) // PAGE))
        return write_parts(self.host.session, self.host.generation, addresses, (data,))

    def read(self, first: int, pages: int) -> CommandParts:
        """Likewise."""
        return read_parts(self.host.session, self.host.generation, pack_dpas(dpas(first, pages)))

    def trim(self, first: int, pages: int) -> CommandParts:
        """Likewise."""
        one = types_pb2.DpaRange(start=first * PAGE, length=pages * PAGE)
        return trim_parts(memory_pb2.TrimRequest(ranges=[one], **self.host.ref))

    def begin(self, *commands: CommandParts, timeout: float = DEADLINE_S) -> list[Asked]:
        """All at once."""
        begun = self.calls.begin(commands, timeout)
        assert begun is not None
        return begun

    def pages(self, asked: Asked) -> bytes:
        """What a read found."""
        answer = self.calls.finish(asked)
        assert isinstance(answer, ReadPages)
        return bytes(answer.data)


class _Counted(grpc.Channel):
    """A channel that keeps the messages."""

    def __init__(self, channel: grpc.Channel, messages: list[bytes]) -> None:
        self._channel = channel
        self._messages = messages

    def stream_stream(self, method: str, *rest: Any, **named: Any) -> Any:
        """The one kind of call that is made."""
        made = self._channel.stream_stream(method, *rest, **named)

        def called(requests: Iterator[bytes]) -> Any:
            return made(self._kept(requests))

        return called

    def _kept(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        for request in requests:
            self._messages.append(request)
            yield request

    def unary_unary(self, *_: Any, **__: Any) -> Any:
        """None."""
        raise NotImplementedError

    unary_stream = stream_unary = subscribe = unsubscribe = close = unary_unary
    __enter__ = __exit__ = unary_unary


@contextmanager
def shared_by(most_open: int = 1) -> Iterator[Shared]:
    """On a bench of its own."""
    with bench_of() as bench:
        shared = Shared(bench, most_open)
        yield shared
        shared.calls.close()
        assert bench.service.open_transfers.wait_below(1)


def test_commands_that_are_ready_go_in_one_message() -> None:
    """Each has its own answer, in order, and each sees what those before it did."""
    with shared_by() as shared:
        begun = shared.begin(
            shared.write(0, prose(3)), shared.read(0, 3), shared.trim(1, 1), shared.read(1, 1)
        )
        assert shared.pages(begun[3]) == bytes(PAGE)
        assert shared.pages(begun[1]) == prose(3)
        assert isinstance(shared.calls.finish(begun[0]), memory_pb2.WriteResponse)
        assert isinstance(shared.calls.finish(begun[2]), memory_pb2.TrimResponse)
        assert len(shared.messages) == 1


def test_a_refused_command_is_refused_alone() -> None:
    """Those beside it are carried out; it is named as it would be by itself."""
    with shared_by() as shared:
        before, wrong, behind = shared.begin(
            shared.write(0, prose(1)), shared.read(1 << 20, 2), shared.read(0, 1)
        )
        with pytest.raises(Refused) as caught:
            shared.calls.finish(wrong)
        refusal = read_refusal(caught.value)
        assert (refusal.reason, refusal.request_id[:6]) == ("OUT_OF_RANGE", "bytes:")
        shared.calls.finish(before)
        assert shared.pages(behind) == prose(1)


def test_what_comes_while_all_are_busy_waits_for_the_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """From several threads: it goes in one message, and each thread has its own answer."""
    with shared_by() as shared, stalled_codec(monkeypatch) as stall:
        first = shared.begin(shared.write(0, prose(2, 0)))
        assert stall.reached.wait(DEADLINE_S)
        begun = [shared.begin(shared.write(2 * number, prose(2, number)))[0] for number in range(1, 5)]
        assert all(asked.line is None for asked in begun)
        with ThreadPoolExecutor(5) as threads:
            answers = [threads.submit(shared.calls.finish, asked) for asked in (*begun, *first)]
            stall.go.set()
            for answer in answers:
                assert isinstance(answer.result(DEADLINE_S), memory_pb2.WriteResponse)
        assert len(shared.messages) == 2
        assert shared.host.read(0, 10) == b"".join(prose(2, number) for number in range(5))


def test_many_threads_share_two_calls() -> None:
    """Whoever receives, each has its own."""
    with shared_by(2) as shared:

        def work(number: int) -> bytes:
            for turn in range(10):
                data = prose(8, 10 * number + turn)
                written, found = shared.begin(shared.write(8 * number, data), shared.read(8 * number, 8))
                shared.calls.finish(written)
                assert shared.pages(found) in {data, bytes(8 * PAGE), prose(8, 10 * number + turn - 1)}
            return shared.pages(shared.begin(shared.read(8 * number, 8))[0])

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(work, range(8))) == [prose(8, 10 * number + 9) for number in range(8)]
        assert shared.bench.service.open_transfers.taken <= 2


def test_one_that_is_late_costs_the_others_only_the_call() -> None:
    """It is late itself; those that go with it, or wait, may be repeated."""
    with shared_by() as shared:
        shared.calls.finish(shared.begin(shared.write(0, prose(1, 1)))[0])
        shared.bench.inject(
            unanswered_command=operator_pb2.UnansweredCommandFault(),
            scope=operator_pb2.FaultScope(operations=[operator_pb2.OPERATION_WRITE]),
        )
        [late] = shared.begin(shared.write(0, prose(1, 2)), timeout=0.2)
        [queued] = shared.begin(shared.read(0, 1))
        [hasty] = shared.begin(shared.read(0, 1), timeout=0.1)
        for asked, code in (
            (hasty, grpc.StatusCode.DEADLINE_EXCEEDED),
            (late, grpc.StatusCode.DEADLINE_EXCEEDED),
        ):
            with pytest.raises(TransferBroken) as caught:
                shared.calls.finish(asked)
            assert caught.value.refusal.code is code
        with pytest.raises(TransferBroken) as caught:
            shared.calls.finish(queued)
        assert not caught.value.late
        assert shared.calls.begin([shared.read(0, 1)], DEADLINE_S) is None
        shared.bench.clear()
        assert shared.host.read(0, 1) == prose(1, 1)


def test_what_was_given_up_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is under way nor what waits; others on that call may repeat theirs."""
    with shared_by() as shared, stalled_codec(monkeypatch) as stall:
        begun = shared.begin(shared.write(0, prose(1)), shared.write(1, prose(1)))
        assert stall.reached.wait(DEADLINE_S)
        begun += shared.begin(shared.write(2, prose(1)))
        told: list[BaseException] = []

        def wait() -> None:
            try:
                shared.calls.finish(begun[1])
            except TransferBroken as broken:
                told.append(broken)

        waiting = threading.Thread(target=wait)
        waiting.start()
        shared.calls.give_up([begun[0], begun[2]])
        waiting.join(DEADLINE_S)
        assert len(told) == 1
        # The device hears of what was given up before it hears of any later call.
        assert shared.host.read(8, 1) == bytes(PAGE)
        stall.go.set()
        for asked in begun:
            with pytest.raises(TransferBroken):
                shared.calls.finish(asked)
        assert shared.bench.service.open_transfers.wait_below(1)
        assert shared.host.read(0, 3) == bytes(3 * PAGE)


def test_large_ones_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is full goes at once, on a call that is busy, too."""
    with shared_by() as shared, stalled_codec(monkeypatch) as stall:
        begun = [shared.begin(shared.write(0, prose(256, number)))[0] for number in range(2)]
        assert all(asked.line is not None for asked in begun)
        stall.go.set()
        for asked in begun:
            shared.calls.finish(asked)
        assert len(shared.messages) == 2


def test_a_device_that_takes_one_command_at_a_time_gets_that() -> None:
    """It says so by saying nothing of several."""
    with shared_by() as shared:
        shared.calls.together(0)
        for asked in shared.begin(*(shared.write(number, prose(1)) for number in range(3))):
            shared.calls.finish(asked)
        assert len(shared.messages) == 3
