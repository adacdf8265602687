"""A hold: something waits for a fault. It ends by its time, or when the fault is not armed any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable


@dataclass(frozen=True, slots=True)
class Hold:
    """What is waited for."""

    fault_id: str
    until_ns: int | None
    """Of the clock that the device was called with; None: until the fault is cleared."""

    def holds(self, armed: Container[str], now_ns: int) -> bool:
        """Whether it is to be waited for still, with these faults armed."""
        return self.fault_id in armed and (self.until_ns is None or now_ns < self.until_ns)


def until(holds: Iterable[Hold], armed: Container[str], now_ns: int) -> int | None:
    """When the last of these ends by itself; `now_ns` if all are over, None if one never does."""
    last_ns = now_ns
    for hold in holds:
        if hold.holds(armed, now_ns):
            if hold.until_ns is None:
                return None
            last_ns = max(last_ns, hold.until_ns)
    return last_ns
