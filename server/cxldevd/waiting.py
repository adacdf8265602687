"""Waiting inside a call: until time has passed, or until the caller is gone."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from cxldevd.pools import parked
from cxldevd.wake import Wake

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxldevd.clock import Clock


class Caller(Protocol):
    """Who waits for an answer, whatever the transport. `grpc.ServicerContext` is one."""

    @abstractmethod
    def is_active(self) -> bool:
        """Whether somebody still waits."""

    @abstractmethod
    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Ask to be told when the call ends for whatever reason. False: it has ended already."""


class CallerGone(Exception):
    """The call was cancelled or its deadline passed: nobody waits for the answer."""


def ring_when_gone(caller: Caller, wake: Wake) -> None:
    """Ring when the call ends for whatever reason.

    Raises:
        CallerGone: it has ended already.
    """
    if not caller.add_callback(wake.ring):
        raise CallerGone


class PatientCaller:
    """A caller whose command is one of several: what it is to wait for before its answer, it owes.

    The answers before its own may leave first.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.owed_ns = 0

    def is_active(self) -> bool:
        """See `Caller`."""
        return self._caller.is_active()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """See `Caller`."""
        return self._caller.add_callback(callback)


def pause(caller: Caller, clock: Clock, ns: int) -> None:
    """Let so much wall time pass before the answer.

    Raises:
        CallerGone: the caller did not wait that long.
    """
    if ns <= 0:
        return
    if isinstance(caller, PatientCaller):
        caller.owed_ns += ns
        return
    wake = Wake(clock)
    ring_when_gone(caller, wake)
    with parked():
        gone = wake.wait(0, clock.now_ns() + ns)
    if gone:
        raise CallerGone
