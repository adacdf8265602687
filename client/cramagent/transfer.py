"""One open call of MemoryService.Transfer: messages out, answers in."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError

from cramwire.refusal import Refusal, read_refusal
from cramwire.transfer_messages import TRANSFER_METHOD, put_commands, take_answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramwire.transfer_messages import Answer, CommandParts

ENDED: Final = Refusal(grpc.StatusCode.UNAVAILABLE, "the device ended the call")
LATE: Final = Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the device did not answer in time")


class TransferBroken(Exception):
    """The call has ended, and a command has no answer. Commands may be repeated by themselves."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal: Final = refusal
        """What the call ended with."""

    @property
    def late(self) -> bool:
        """Whether it ended because the answer was late."""
        return self.refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED


class Transfer:
    """One thread at a time sends, and one receives."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: SimpleQueue[Sequence[CommandParts] | None] = SimpleQueue()
        self.was_late = False
        """Whether it was ended because an answer was late."""
        method = channel.stream_stream(TRANSFER_METHOD, request_serializer=None, response_deserializer=None)
        # The stubs know of `cancel` only on another type.
        self._call: Any = method(self._messages())

    def _messages(self) -> Iterator[bytes]:
        """On a thread of grpc's: it copies pages, while whoever sent them goes on."""
        while (commands := self._requests.get()) is not None:
            yield put_commands(commands)

    def send(self, commands: Sequence[CommandParts]) -> None:
        """Send them in one message."""
        self._requests.put(commands)

    def receive(self) -> list[Answer | None]:
        """The next answers, one at least; None stands for one that we do not know.

        Raises:
            TransferBroken: the call has ended.
        """
        try:
            return take_answers(next(self._call))
        except grpc.RpcError as error:
            raise TransferBroken(read_refusal(error)) from error
        except (StopIteration, DecodeError) as error:
            raise TransferBroken(ENDED) from error

    def close(self) -> None:
        """End the call: commands without an answer are given up."""
        self._call.cancel()
        # Whoever takes messages from us on grpc's behalf waits here.
        self._requests.put(None)

    def late(self) -> None:
        """An answer is late: end the call. Whoever waits for it is told."""
        self.was_late = True
        self._call.cancel()
