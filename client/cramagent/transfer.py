"""Commands on an open call of MemoryService.Transfer: at half the cost of calls by themselves.

Answers come in the order of the commands. Whoever waits for an answer receives it: no thread but
grpc's own stands between.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from math import inf
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from cramagent.roads import trim_request
from cramwire.page_messages import ReadPages, pack_dpas
from cramwire.refusal import CODES, Refusal, Refused, read_refusal, refusal_of
from cramwire.request_id import message_id
from cramwire.transfer_messages import (
    TRANSFER_METHOD,
    put_read_command,
    put_trim_command,
    put_write_command,
    take_answer,
)
from cramwire.v1 import memory_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cramagent.roads import Buffer, Road, Session
    from cramwire.transfer_messages import Answer

A = TypeVar("A")

_MOST_OPEN: Final = 4
"""Open calls of one host: of the main loop, of writes behind it, and one to spare."""
_AGAIN_S: Final = 1.0
"""After one broke, no other is opened for so long."""
_LINGER_S: Final = 30.0
_LEAST_S: Final = 0.001


class TransferBroken(Exception):
    """The call has ended, and a command has no answer. Commands may be repeated by themselves."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal: Final = refusal
        """What the call ended with."""

    @property
    def late(self) -> bool:
        """Whether it ended because an answer was late."""
        return self.refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED


class Transfer:
    """One open call. One thread at a time sends, and one receives."""

    def __init__(self, channel: grpc.Channel, watch: Watch) -> None:
        self._watch = watch
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._sent: deque[tuple[float, bytes]] = deque()
        """Commands without an answer, oldest first, and by when that is to come."""
        self._late = False
        method = channel.stream_stream(TRANSFER_METHOD, request_serializer=None, response_deserializer=None)
        # The stubs know of `cancel` only on another type.
        self._call: Any = method(iter(self._requests.get, None))

    def send(self, command: bytes, timeout: float) -> None:
        """Begin a command that is to be answered within so many seconds. The call ends if it is not."""
        deadline = monotonic() + timeout
        self._sent.append((deadline, command))
        if len(self._sent) == 1:
            self._watch.expect(self, deadline)
        self._requests.put(command)

    def receive(self) -> Answer:
        """The answer to the oldest command without one.

        Raises:
            Refused: the device says no.
            TransferBroken: the call has ended before.
        """
        try:
            answer = take_answer(next(self._call))
        except grpc.RpcError as error:
            raise self._broken(error) from error
        except StopIteration:
            raise self._broken(None) from None
        except DecodeError as error:
            raise self._broken(None) from error
        if answer is None:
            raise self._broken(None)
        _, command = self._sent.popleft()
        self._watch.expect(self, self._sent[0][0] if self._sent else None)
        if isinstance(answer, status_pb2.Status):
            code = CODES.get(answer.code, grpc.StatusCode.UNKNOWN)
            refusal = refusal_of(code, answer.message, answer)
            raise Refused(replace(refusal, request_id=message_id(command)))
        return answer

    def close(self) -> None:
        """End the call: commands without an answer are given up."""
        self._watch.expect(self, None)
        self._call.cancel()
        # Whoever takes requests from us on grpc's behalf waits here.
        self._requests.put(None)

    def give_up(self) -> None:
        """An answer is late: end the call. Whoever waits for it is told."""
        self._late = True
        self._call.cancel()

    def _broken(self, error: grpc.RpcError | None) -> TransferBroken:
        """The call is over."""
        self.close()
        refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "the device ended the call")
        if self._late:
            refusal = Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the device did not answer in time")
        elif error is not None:
            refusal = read_refusal(error)
        return TransferBroken(replace(refusal, request_id=message_id(self._sent[0][1])))


class Watch:
    """Ends calls whose answers are late, on a thread that sleeps until one could be."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[Transfer, float] = {}
        self._looks_at: float | None = None
        """None: nobody looks."""

    def expect(self, transfer: Transfer, deadline: float | None) -> None:
        """An answer, by this `monotonic()`. None: it waits for none."""
        with self._changed:
            if deadline is None:
                self._due.pop(transfer, None)
                return
            self._due[transfer] = deadline
            if self._looks_at is None:
                self._looks_at = deadline
                threading.Thread(target=self._run, name="transfer-deadlines", daemon=True).start()
            elif deadline < self._looks_at:
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._due:
                now = monotonic()
                for late in [one for one, deadline in self._due.items() if deadline <= now]:
                    del self._due[late]
                    late.give_up()
                # As long as anything is asked now and then, one thread does for all of it.
                self._looks_at = min(self._due.values(), default=now + _LINGER_S)
                self._changed.wait(self._looks_at - now)
            self._looks_at = None


class TransferRoad:
    """The calls over open ones, one for each thread that is in a call; where there is none, over `beside`.

    A `Road`. A command that got no answer because its call broke is repeated beside it: all may be.
    """

    def __init__(self, channel: grpc.Channel, beside: Road) -> None:
        self._channel = channel
        self._beside = beside
        self._watch = Watch()
        self._lock = threading.Lock()
        self._resting: list[Transfer] = []
        self._open = 0
        self._not_before = 0.0

    def close(self) -> None:
        """End all calls that nobody waits in, and open no more."""
        with self._lock:
            self._not_before = inf
            resting, self._resting = self._resting, []
            self._open -= len(resting)
        for transfer in resting:
            transfer.close()

    def write(
        self, session: Session, dpas: Sequence[int], data: Buffer, *, timeout: float
    ) -> memory_pb2.WriteResponse:
        """See `Road`."""
        until = monotonic() + timeout
        command = put_write_command(session.session, session.generation, pack_dpas(dpas), (data,))
        said = self._ask(command, memory_pb2.WriteResponse, timeout)
        return self._beside.write(session, dpas, data, timeout=_left(until)) if said is None else said

    def read(
        self,
        session: Session,
        dpas: Sequence[int],
        take: Callable[[bytes | memoryview], None],
        *,
        timeout: float,
    ) -> int:
        """See `Road`."""
        until = monotonic() + timeout
        command = put_read_command(session.session, session.generation, pack_dpas(dpas))
        said = self._ask(command, ReadPages, timeout)
        if said is None:
            return self._beside.read(session, dpas, take, timeout=_left(until))
        take(said.data)
        return said.device_ns

    def trim(
        self, session: Session, ranges: Sequence[tuple[int, int]], *, timeout: float
    ) -> memory_pb2.TrimResponse:
        """See `Road`."""
        until = monotonic() + timeout
        command = put_trim_command(trim_request(session, ranges))
        said = self._ask(command, memory_pb2.TrimResponse, timeout)
        return self._beside.trim(session, ranges, timeout=_left(until)) if said is None else said

    def flush(self, session: Session, *, timeout: float) -> memory_pb2.FlushResponse:
        """See `Road`. It waits for long, and would keep others waiting: always a call by itself."""
        return self._beside.flush(session, timeout=timeout)

    def _ask(self, command: bytes, kind: type[A], timeout: float) -> A | None:
        """The answer; None: there is no open call to be had, or it broke.

        Raises:
            Refused: the device says no, or nothing in time.
        """
        transfer = self._take()
        if transfer is None:
            return None
        try:
            transfer.send(command, timeout)
            answer = transfer.receive()
        except Refused:
            self._give_back(transfer)
            raise
        except TransferBroken as broken:
            self._lost(broken.refusal.code)
            if broken.late:
                raise Refused(broken.refusal) from broken
            return None
        except BaseException:
            transfer.close()
            self._lost(None)
            raise
        if not isinstance(answer, kind):
            transfer.close()
            self._lost(None)
            return None
        self._give_back(transfer)
        return answer

    def _take(self) -> Transfer | None:
        with self._lock:
            if self._resting:
                return self._resting.pop()
            if self._open >= _MOST_OPEN or monotonic() < self._not_before:
                return None
            self._open += 1
        return Transfer(self._channel, self._watch)

    def _give_back(self, transfer: Transfer) -> None:
        with self._lock:
            if self._not_before != inf:
                self._resting.append(transfer)
                return
            self._open -= 1
        transfer.close()

    def _lost(self, code: grpc.StatusCode | None) -> None:
        """A call broke: what rests is likely to have, too. For a while calls are made by themselves."""
        with self._lock:
            self._open -= 1 + len(self._resting)
            resting, self._resting = self._resting, []
            wait_s = inf if code is grpc.StatusCode.UNIMPLEMENTED else _AGAIN_S
            self._not_before = max(self._not_before, monotonic() + wait_s)
        for transfer in resting:
            transfer.close()


def _left(until: float) -> float:
    """Seconds, for a call that is to be made yet."""
    return max(until - monotonic(), _LEAST_S)
