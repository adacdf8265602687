"""The road to MemoryService over calls that stay open."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from cramagent.open_calls import OpenCalls
from cramagent.roads import trim_request
from cramagent.transfer import TransferBroken
from cramwire.page_messages import ReadPages, pack_dpas
from cramwire.refusal import Refused
from cramwire.transfer_messages import read_parts, trim_parts, write_parts
from cramwire.v1 import memory_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

    from cramagent.roads import Buffer, Road, Session
    from cramwire.transfer_messages import CommandParts

A = TypeVar("A")

_MOST_OPEN: Final = 4
"""Open calls of one host: of the main loop, of reads and writes behind it, and one to spare."""
_LEAST_S: Final = 0.001


class TransferRoad:
    """The calls over open ones, shared by all threads; where there is none, over `beside`.

    A `Road`. A command that got no answer because its call broke is repeated beside it: all may be.
    """

    def __init__(self, channel: grpc.Channel, beside: Road) -> None:
        self._beside = beside
        self._calls = OpenCalls(channel, _MOST_OPEN)

    def together(self, most_commands: int) -> None:
        """How many commands the device takes in one message."""
        self._calls.together(most_commands)

    def close(self) -> None:
        """End all calls that nobody waits in, and open no more."""
        self._calls.close()

    def write(
        self, session: Session, dpas: Sequence[int], data: Buffer, *, timeout: float
    ) -> memory_pb2.WriteResponse:
        """See `Road`."""
        until = monotonic() + timeout
        command = write_parts(session.session, session.generation, pack_dpas(dpas), (data,))
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
        command = read_parts(session.session, session.generation, pack_dpas(dpas))
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
        command = trim_parts(trim_request(session, ranges))
        said = self._ask(command, memory_pb2.TrimResponse, timeout)
        return self._beside.trim(session, ranges, timeout=_left(until)) if said is None else said

    def flush(self, session: Session, *, timeout: float) -> memory_pb2.FlushResponse:
        """See `Road`. It waits for long, and would keep others waiting: always a call by itself."""
        return self._beside.flush(session, timeout=timeout)

    def _ask(self, command: CommandParts, kind: type[A], timeout: float) -> A | None:
        """The answer; None: there is no open call to be had, or it broke.

        Raises:
            Refused: the device says no, or nothing in time.
        """
        begun = self._calls.begin((command,), timeout)
        if begun is None:
            return None
        try:
            answer = self._calls.finish(begun[0])
        except Refused:
            raise
        except TransferBroken as broken:
            if broken.late:
                raise Refused(broken.refusal) from broken
            return None
        except BaseException:
            self._calls.give_up(begun)
            raise
        assert isinstance(answer, kind), answer
        return answer


def _left(until: float) -> float:
    """Seconds, for a call that is to be made yet."""
    return max(until - monotonic(), _LEAST_S)
