"""Waiting inside a call: until time has passed, or until the caller is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldevd.wake import Wake

if TYPE_CHECKING:
    import grpc

    from cxldevd.clock import Clock


class CallerGone(Exception):
    """The call was cancelled or its deadline passed: nobody waits for the answer."""


def ring_when_gone(context: grpc.ServicerContext, wake: Wake) -> None:
    """Ring when the call ends for whatever reason.

    Raises:
        CallerGone: it has ended already.
    """
    if not context.add_callback(wake.ring):
        raise CallerGone


def pause(context: grpc.ServicerContext, clock: Clock, ns: int) -> None:
    """Let so much wall time pass before the answer.

    Raises:
        CallerGone: the caller did not wait that long.
    """
    if ns <= 0:
        return
    wake = Wake(clock)
    ring_when_gone(context, wake)
    if wake.wait(0, clock.now_ns() + ns):
        raise CallerGone
