"""Answers to the commands of one message, on their way out.

Those to several commands go together, as far as that keeps none of them waiting for what another waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cramwire.transfer_answers import AROUND, Answers, OneAnswer, put_alone
from cramwire.transport import TOGETHER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramwire.transfer_answers import Reply


class Replies(Protocol):
    """A `Reply` for each command of a message, in order, and the messages that come of them."""

    def make_room(self) -> Iterator[bytes]:
        """For the next answer: what has to leave first."""
        ...

    def fitting(self, count: int) -> int:
        """Of so many answers, that of now and those behind it: how many the message of now has room for."""
        ...

    def next_room(self) -> None:
        """For one of those, behind that of now."""
        ...

    def mark(self) -> tuple[int, int]:
        """The answer of now begins here."""
        ...

    def back_to(self, mark: tuple[int, int]) -> None:
        """Whatever was answered since is void. Nothing has left meanwhile."""
        ...

    @property
    def reply(self) -> Reply:
        """Where the answer of now goes."""
        ...

    def refuse(self, refusal: bytes) -> Iterator[bytes]:
        """The answer of now says no; what has to leave for that."""
        ...

    def before(self) -> Iterator[bytes]:
        """The answers before that of now, which is kept: it is not due yet."""
        ...

    def all(self) -> Iterator[bytes]:
        """Whatever there is."""
        ...


class Alone:
    """To a message of one command."""

    def __init__(self) -> None:
        self.reply = OneAnswer()

    def make_room(self) -> Iterator[bytes]:
        """See `Replies`."""
        return iter(())

    def fitting(self, count: int) -> int:
        """See `Replies`."""
        return min(count, 1)

    def next_room(self) -> None:
        """See `Replies`: there is none."""
        raise AssertionError("a message of one command has one answer")

    def mark(self) -> tuple[int, int]:
        """See `Replies`."""
        return 0, 0

    def back_to(self, mark: tuple[int, int]) -> None:
        """See `Replies`."""

    def refuse(self, refusal: bytes) -> Iterator[bytes]:
        """See `Replies`."""
        self.reply.put(refusal)
        return iter(())

    def before(self) -> Iterator[bytes]:
        """See `Replies`."""
        return iter(())

    def all(self) -> Iterator[bytes]:
        """See `Replies`."""
        message, self.reply.message = self.reply.message, b""
        return iter((message,) if message else ())


class Together:
    """To a message of several."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """`sizes`: bytes of pages in each answer, at most."""
        self._sizes = [size + AROUND for size in sizes]
        # What a host asked for in one message has room in one.
        self._most = TOGETHER_BYTES + AROUND * len(sizes)
        self._number = -1
        self._answers: Answers | None = None
        self._before = 0
        """Where the answer of now begins."""

    def make_room(self) -> Iterator[bytes]:
        """See `Replies`."""
        self._number += 1
        if self._answers is not None and not self._answers.fits(self._sizes[self._number]):
            yield from self.all()
        if self._answers is None:
            self._answers = Answers(self._capacity())
        self._before = self._answers.end

    def fitting(self, count: int) -> int:
        """See `Replies`."""
        total = 0
        for number, size in enumerate(self._sizes[self._number : self._number + count]):
            total += size
            if not self.reply.fits(total):
                return number
        return count

    def next_room(self) -> None:
        """See `Replies`."""
        self._number += 1
        self._before = self.reply.end

    def mark(self) -> tuple[int, int]:
        """See `Replies`."""
        return self._number, self.reply.end

    def back_to(self, mark: tuple[int, int]) -> None:
        """See `Replies`."""
        self._number, self.reply.end = mark
        self._before = self.reply.end

    @property
    def reply(self) -> Answers:
        """See `Replies`."""
        assert self._answers is not None
        return self._answers

    def refuse(self, refusal: bytes) -> Iterator[bytes]:
        """See `Replies`."""
        if self.reply.fits(len(refusal) + AROUND):
            self.reply.put(refusal)
            return
        yield from self.all()
        yield put_alone(refusal)

    def before(self) -> Iterator[bytes]:
        """See `Replies`."""
        message = self.reply.take()
        kept = message[self._before :]
        self._answers = Answers(len(kept) + self._sizes[self._number])
        self._answers.append(kept)
        if self._before:
            yield message[: self._before]
        self._before = 0

    def all(self) -> Iterator[bytes]:
        """See `Replies`."""
        if self._answers is None:
            return
        message, self._answers = self._answers.take(), None
        if message:
            yield message

    def _capacity(self) -> int:
        """Of a message that begins with the answer of now."""
        capacity = self._sizes[self._number]
        for size in self._sizes[self._number + 1 :]:
            if capacity + size > self._most:
                break
            capacity += size
        return capacity
