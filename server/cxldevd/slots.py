"""Slots: so many holders at one time, and no queue for more."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cxldevd.errors import DeviceBusy

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slots:
    """So many at one time; one more is refused, not queued. A part of them for each holder, at most."""

    def __init__(self, count: int, what: str, of_one: int | None = None) -> None:
        """`of_one`: how many one holder may have; None: all."""
        self._count = count
        self._what = what
        self._of_one = count if of_one is None else of_one
        self._given_back = threading.Condition(threading.Lock())
        self._taken = 0
        self._holders: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many there are now."""
        return self._taken

    def wait_below(self, count: int, timeout_s: float = 30.0) -> bool:
        """Wait until fewer than this are taken. Returns whether they are."""
        with self._given_back:
            return self._given_back.wait_for(lambda: self._taken < count, timeout_s)

    @contextmanager
    def one(self, holder: str = "") -> Iterator[None]:
        """Take a slot while this is entered.

        Raises:
            DeviceBusy: all are taken, or all that this holder may have.
        """
        with self._given_back:
            if self._taken >= self._count:
                raise DeviceBusy(f"all {self._count} {self._what} are taken; close one or try again later")
            if self._holders[holder] >= self._of_one:
                raise DeviceBusy(
                    f"all {self._of_one} {self._what} that one host may have are taken; close one"
                )
            self._taken += 1
            self._holders[holder] += 1
        try:
            yield
        finally:
            with self._given_back:
                self._taken -= 1
                self._holders[holder] -= 1
                if not self._holders[holder]:
                    del self._holders[holder]
                self._given_back.notify_all()
