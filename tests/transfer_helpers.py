"""An open call of MemoryService.Transfer, by hand: commands as bytes, answers one after the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from cramwire.page_messages import pack_dpas
from cramwire.refusal import CODES, Refusal, read_refusal, refusal_of
from cramwire.transfer_messages import (
    TRANSFER_METHOD,
    CommandParts,
    put_commands,
    put_read_command,
    put_trim_command,
    put_write_command,
    take_answers,
)
from cramwire.v1 import memory_pb2, types_pb2
from server_helpers import DEADLINE_S, PAGE, Host, dpas


class Open:
    """One open call, a message at a time."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: deque[Any] = deque()
        self.received = 0
        """Messages."""
        method = channel.stream_stream(TRANSFER_METHOD, request_serializer=None, response_deserializer=None)
        self.call: Any = method(iter(self._messages.get, None), timeout=DEADLINE_S)

    def send(self, *messages: bytes) -> None:
        """Some commands, or what is none."""
        for message in messages:
            self._messages.put(message)

    def no_more(self) -> None:
        """Say that no command follows."""
        self._messages.put(None)

    def answer(self) -> Any:
        """The next answer. Raises StopIteration, grpc.RpcError: there is none."""
        if not self._answers:
            self._answers.extend(take_answers(next(self.call)))
            self.received += 1
        answer = self._answers.popleft()
        if isinstance(answer, status_pb2.Status):
            return refusal_of(CODES[answer.code], answer.message, answer)
        return answer

    def end(self) -> Refusal:
        """What the call ends with."""
        with pytest.raises(grpc.RpcError) as caught:
            next(self.call)
        self.no_more()
        return read_refusal(caught.value)


def write(host: Host, first: int, data: bytes) -> bytes:
    """A command."""
    addresses = pack_dpas(dpas(first, len(data) // PAGE))
    return put_write_command(host.session, host.generation, addresses, (data,))


def read(host: Host, first: int, pages: int) -> bytes:
    """Likewise."""
    return put_read_command(host.session, host.generation, pack_dpas(dpas(first, pages)))


def trim(host: Host, first: int, pages: int) -> bytes:
    """Likewise."""
    one = types_pb2.DpaRange(start=first * PAGE, length=pages * PAGE)
    return put_trim_command(memory_pb2.TrimRequest(ranges=[one], **host.ref))


def together(*commands: bytes) -> bytes:
    """One message of them."""
    return put_commands([CommandParts((one,), len(one), memory_pb2.WriteResponse) for one in commands])


def waits_for(happened: Any) -> None:
    """Until it has."""
    until = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < until
        threading.Event().wait(0.002)
