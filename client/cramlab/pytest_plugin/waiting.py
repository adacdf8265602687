"""Waiting for a condition of a live device or host, as tests must: never for a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_POLL_S: Final = 0.02


class NeverCame(AssertionError):
    """A condition that was waited for did not come about."""


def wait_until(read: Callable[[], T], holds: Callable[[T], object], deadline_s: float) -> T:
    """Read again and again until the condition holds; the reading for which it did.

    Raises:
        NeverCame: it did not within `deadline_s` seconds; the last reading is in the message.
    """
    end = time.monotonic() + deadline_s
    while True:
        reading = read()
        if holds(reading):
            return reading
        if time.monotonic() > end:
            raise NeverCame(f"the condition did not hold within {deadline_s:g} s; last: {reading}")
        time.sleep(_POLL_S)
