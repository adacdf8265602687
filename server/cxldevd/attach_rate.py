"""How often hosts may attach: an attach costs the device more than any other call, and leaves a tombstone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from cxldevd.errors import DeviceBusy

_NS_PER_S: Final = 1_000_000_000
_LONGEST_NAME: Final = 64
_REMEMBERED: Final = 4096
"""Host names whose rate is known. Who makes up more of them is held by the rate of all."""


class _Bucket:
    """So many at once, and as many a second."""

    __slots__ = ("_at_ns", "_left", "_rate")

    def __init__(self, rate: int, now_ns: int) -> None:
        self._rate = rate
        self._left = float(rate)
        self._at_ns = now_ns

    def wait_ns(self, now_ns: int) -> int:
        """How long until there is room for one; 0: there is."""
        grown = max(0, now_ns - self._at_ns) * self._rate / _NS_PER_S
        self._left = min(float(self._rate), self._left + grown)
        self._at_ns = max(self._at_ns, now_ns)
        return 0 if self._left >= 1 else round((1 - self._left) / self._rate * _NS_PER_S)

    def take(self) -> None:
        """One of them is taken."""
        self._left -= 1


class AttachRate:
    """Attaches a second: of each host, and of all. As many may come at once."""

    def __init__(self, of_one: int, of_all: int, now_ns: int) -> None:
        self._of_one = of_one
        self._all = _Bucket(of_all, now_ns)
        self._hosts: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, host: str, now_ns: int) -> None:
        """Count one attach.

        Raises:
            DeviceBusy: it comes too soon.
        """
        host = host[:_LONGEST_NAME]  # what is longer is refused later, and not to be kept here
        with self._lock:
            own = self._hosts.get(host)
            if own is None:
                own = self._hosts[host] = _Bucket(self._of_one, now_ns)
                if len(self._hosts) > _REMEMBERED:
                    self._hosts.popitem(last=False)
            self._hosts.move_to_end(host)
            wait_ns, whose = max((own.wait_ns(now_ns), "this host"), (self._all.wait_ns(now_ns), "all hosts"))
            if wait_ns:
                raise DeviceBusy(
                    f"too many attaches of {whose} within a second; try again in {wait_ns / 1e6:.0f} ms"
                )
            own.take()
            self._all.take()
