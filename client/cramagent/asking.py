"""Asking one device: a call is repeated while nobody answers, until the wait for it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from cramagent.refusals import GONE_REASONS, NodeRefused, NodeSilent, tell_refusal
from cramagent.roads import NO_ANSWER
from cramwire.refusal import Refusal, read_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramagent.clock import Clock

T = TypeVar("T")

_FIRST_BACKOFF_S: Final = 0.02
_LAST_BACKOFF_S: Final = 0.5


class Asker:
    """Makes calls to one device. Several threads may ask at one time.

    Args:
        facts: what goes with every log line about this device.
        timeout_ns: for how long a call is repeated that is not given a wait of its own.
        clock: tells the time, and waits.
    """

    def __init__(self, facts: dict[str, Any], timeout_ns: int, clock: Clock) -> None:
        self.facts = facts
        self.gone_reason = ""
        """The wire's reason why the last call met no session."""
        self._timeout_s = timeout_ns / 1e9
        self._clock = clock
        self._closed = clock.flag()

    def close(self) -> None:
        """Repeat nothing any more."""
        self._closed.set()

    def until(self, wait_s: float | None = None) -> float:
        """When a wait that begins now is over: a time for `left`, in seconds."""
        return self._clock.now_ns() / 1e9 + (self._timeout_s if wait_s is None else wait_s)

    def left(self, until: float) -> float:
        """Seconds until then; never so few that nothing can come of them."""
        return max(until - self._clock.now_ns() / 1e9, _FIRST_BACKOFF_S)

    def ask(self, call: Callable[..., T], *, wait_s: float | None = None) -> T | Refusal:
        """Make a call, again and again while nobody answers, until the wait is over."""
        until = self.until(wait_s)
        backoff = _FIRST_BACKOFF_S
        while True:
            try:
                return call(timeout=self.left(until))
            except grpc.RpcError as error:
                refusal = read_refusal(error)
            tell_refusal(call, refusal, self.facts)
            if refusal.reason in GONE_REASONS:
                self.gone_reason = refusal.reason
            if refusal.code not in NO_ANSWER or self.until(backoff) >= until:
                return refusal
            if self._closed.wait(backoff):
                return refusal
            backoff = min(2 * backoff, _LAST_BACKOFF_S)

    def control(self, call: Callable[..., T], *, wait_s: float | None = None) -> T:
        """As `ask`, but what is no answer is an error.

        Raises:
            NodeRefused: it says no.
            NodeSilent: it does not answer.
        """
        said = self.ask(call, wait_s=wait_s)
        if not isinstance(said, Refusal):
            return said
        if said.code in NO_ANSWER:
            raise NodeSilent(said)
        raise NodeRefused(said)
