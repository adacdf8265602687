"""Whose turn it is: start-time fair queueing of commands over the hosts that sent them. No threads, no time.

Every host has a tag: the cost of all that it was served, as if it had begun level with the others. Who
has the lowest tag among those that wait is served next, and its tag rises by what that costs. `level` is the
lowest tag of those that wait: a host that comes back from a pause begins there, so that nobody saves turns
up by being silent, and nobody pays for what it took while it was alone.

At most `turns` commands have a turn at one time, and `small_turns` more that are small: a page that a
processor waits for passes by large commands, of other hosts and of its own. It is paid for all the same.
One of `short_turns` more is had by a short command of a host that has no turn at all and would be served
next: it need not wait until somebody is done with a part. A long command asks again after each part
(`next_part`): whoever came meanwhile waits for a part, not for a thousand pages.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final, Generic, NamedTuple, TypeVar

_T = TypeVar("_T")

MOST_AHEAD: Final = 8192
"""Cost by which a host's tag is ahead of the level at most: what it owes others beyond that is forgotten."""
MOST_OVERTAKEN: Final = 64
"""Small commands of a host that pass by a large one of its own, at most."""
_MOST_IDLE: Final = 256
"""Hosts that are remembered while they have nothing to do."""


class Size(Enum):
    """How much a command is to do."""

    SMALL = "a few pages"
    SHORT = "one part"
    LONG = "several parts"


class _Waiting(NamedTuple, Generic[_T]):
    """A command, or the next part of one, that waits."""

    number: int
    """Of its arrival."""
    cost: int
    who: _T
    size: Size


class _Host(Generic[_T]):
    """One host that shares."""

    __slots__ = ("large", "overtaken", "small", "tag", "taken")

    def __init__(self, tag: int) -> None:
        self.tag = tag
        self.taken = 0
        """Turns that it has."""
        self.small: deque[_Waiting[_T]] = deque()
        self.large: deque[_Waiting[_T]] = deque()
        """Short ones and long ones."""
        self.overtaken = 0
        """Small commands that have passed by the first of `large`."""

    @property
    def is_brief(self) -> bool:
        """Whether what it waits with is done soon."""
        return bool(self.small) or (bool(self.large) and self.large[0].size is Size.SHORT)

    def next_of(self, *, may_be_short: bool, may_be_long: bool) -> deque[_Waiting[_T]] | None:
        """Where its next command stands: they go in the order of their arrival, but for small ones ahead."""
        small, large = self.small, self.large
        if not large:
            return small or None
        if may_be_long or (may_be_short and not self.taken and large[0].size is Size.SHORT):
            return small if small and small[0].number < large[0].number else large
        return small if small and self.overtaken < MOST_OVERTAKEN else None


class FairQueue(Generic[_T]):
    """Turns, who has them, and who waits for one. `_T` stands for a command."""

    def __init__(self, turns: int, small_turns: int, short_turns: int = 0) -> None:
        self._turns = turns
        self._large_turns = turns + short_turns
        self._all_turns = turns + short_turns + small_turns
        self._level = 0
        self._highest = 0
        """The highest tag there is."""
        self._number = 0
        self._taken = self._taken_by_large = 0
        self._hosts: dict[str, _Host[_T]] = {}
        self._waiting: dict[str, _Host[_T]] = {}
        """Those of them that have a command waiting."""

    @property
    def taken(self) -> int:
        """Turns that somebody has."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Commands that wait for a turn."""
        return sum(len(host.small) + len(host.large) for host in self._waiting.values())

    def brief_wait(self, name: str) -> bool:
        """Whether any host but this one waits with a small or a short command."""
        return any(host.is_brief for one, host in self._waiting.items() if one != name)

    def must_wait(self, size: Size) -> bool:
        """Whether a command that asks now may have to wait: not all that may have to do so in the end."""
        return bool(self._waiting) or not self._is_free(size)

    def ask(self, name: str, cost: int, who: _T, size: Size) -> list[_T]:
        """A command of a host wants a turn.

        Returns:
            Who has a turn now and had none, and gives it back: see `done`. If `who` is not among them, it
            waits. Others can be: a small command that is served lets its host stand behind another, whose
            short command may have the turn that is kept for who is next.
        """
        host = self._hosts.get(name)
        if host is None:
            host = self._remember(name)
        if not self._waiting and self._is_free(size):
            self._start(host, cost, size)
            return [who]
        self._wait(name, host)
        self._number += 1
        (host.small if size is Size.SMALL else host.large).append(_Waiting(self._number, cost, who, size))
        return self._serve()

    def next_part(self, name: str, cost: int, who: _T) -> list[_T]:
        """A long command has done a part and goes on when it is its host's turn again.

        Returns:
            Who has a turn now and had none: `who` itself is among them if it goes on at once.
        """
        host = self._hosts[name]
        if not self._waiting:
            self._charge(host, cost)
            return [who]
        self._stop(host, Size.LONG)
        self._wait(name, host)
        # Number 0: it came before all that wait.
        host.large.appendleft(_Waiting(0, cost, who, Size.LONG))
        return self._serve()

    def done(self, name: str, size: Size) -> list[_T]:
        """A turn is given back. Returns who has one now and had none."""
        self._stop(self._hosts[name], size)
        if self._waiting:
            return self._serve()
        if not self._taken:
            # Nobody wants anything: all begin anew.
            self._level = self._highest
        return []

    # -- inside ------------------------------------------------------------------------------------

    def _remember(self, name: str) -> _Host[_T]:
        if len(self._hosts) >= _MOST_IDLE:
            behind = [one for one, host in self._hosts.items() if host.tag <= self._level]
            for one in behind:
                if one not in self._waiting and not self._hosts[one].taken:
                    del self._hosts[one]
        made = self._hosts[name] = _Host[_T](self._level)
        return made

    def _is_free(self, size: Size) -> bool:
        return self._taken < self._all_turns and (size is Size.SMALL or self._taken_by_large < self._turns)

    def _wait(self, name: str, host: _Host[_T]) -> None:
        if name not in self._waiting:
            host.tag = max(host.tag, self._level)
            self._waiting[name] = host

    def _charge(self, host: _Host[_T], cost: int) -> None:
        if not self._waiting:
            # Of those who want something, this one has the lowest tag: there is no other.
            self._level = max(self._level, host.tag)
        host.tag = min(max(host.tag, self._level) + cost, self._level + MOST_AHEAD)
        self._highest = max(self._highest, host.tag)

    def _start(self, host: _Host[_T], cost: int, size: Size) -> None:
        host.taken += 1
        self._taken += 1
        self._taken_by_large += size is not Size.SMALL
        self._charge(host, cost)

    def _stop(self, host: _Host[_T], size: Size) -> None:
        host.taken -= 1
        self._taken -= 1
        self._taken_by_large -= size is not Size.SMALL

    def _serve(self) -> list[_T]:
        """Give the turns that are free to those who wait, in order."""
        started: list[_T] = []
        while self._waiting and self._taken < self._all_turns:
            may_be_long = self._taken_by_large < self._turns
            may_be_short = self._taken_by_large < self._large_turns
            lowest = min(one.tag for one in self._waiting.values())
            served: tuple[str, _Host[_T], deque[_Waiting[_T]]] | None = None
            for name, host in self._waiting.items():
                if served is None or host.tag < served[1].tag:
                    queue = host.next_of(
                        may_be_short=may_be_short and host.tag == lowest, may_be_long=may_be_long
                    )
                    if queue is not None:
                        served = (name, host, queue)
            if served is None:
                break
            name, host, queue = served
            self._level = max(self._level, lowest)
            command = queue.popleft()
            if queue is host.large:
                host.overtaken = 0
            else:
                host.overtaken += 1
            self._start(host, command.cost, command.size)
            started.append(command.who)
            if not host.large:
                host.overtaken = 0
                if not host.small:
                    del self._waiting[name]
        return started
