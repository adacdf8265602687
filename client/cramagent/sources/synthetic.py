"""Seeded programs that never ran: a parent that stores, frees and forks; children that share its pages.

Every `interval` the parent stores to a share of its pages, gives a few back and takes them again,
and forks. A child shares all pages with its parent, stores to some (they are copied for it alone),
lives for a few intervals, and exits, sometimes without notice. So pages with several mappers,
copies on write and zombies all come up. With `drift_to`, what is stored compresses worse (or better)
from interval to interval. The same settings give the same changes, bit for bit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cramagent.sources.changes import MAIN_SPACE, STORE_PAGES, Exit, Fork, Free, SourceError, Store
from cramagent.sources.content import Content

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramagent.sources.changes import Change

FIRST_VPN: Final = 0x10000
_CHILD_LIVES: Final = (2, 5)
"""Intervals between a child's fork and its exit: lowest and highest."""


@dataclass(frozen=True, slots=True)
class Synthetic:
    """What the generator is told. Shares are of 0..1.

    Raises:
        SourceError: a value that cannot be.
    """

    seed: int = 0
    pages: int = 16_384
    """Pages of the parent."""
    zero: float = 0.1
    """Share of pages of zeros."""
    incompressible: float = 0.1
    """Share of pages that no codec shrinks. What is neither is compressible, about 3:1."""
    stores: float = 0.02
    """Share of its pages that each space stores to in an interval."""
    frees: float = 0.005
    """Share of the parent's pages that are given back in an interval."""
    forks: int = 2
    """Children alive at one time, at most."""
    unnoticed: float = 0.25
    """Share of exits and frees that the host is not told of: they leave zombies."""
    drift_to: float | None = None
    """Where the share of incompressible pages goes, in equal steps, one an interval. None: it stays."""
    drift_intervals: int = 60
    """... and in how many."""

    def __post_init__(self) -> None:
        for name in ("zero", "incompressible", "stores", "frees", "unnoticed"):
            if not 0 <= getattr(self, name) <= 1:
                raise SourceError(f"synthetic: the share {name} is 0..1, not {getattr(self, name):g}")
        if self.drift_to is not None and not 0 <= self.drift_to <= 1 - self.zero:
            raise SourceError(
                f"synthetic: the share of incompressible pages may drift to 0..{1 - self.zero:g}, "
                f"what zero pages leave, not to {self.drift_to:g}"
            )
        if self.drift_intervals < 1:
            raise SourceError(f"synthetic: a drift takes at least one interval, not {self.drift_intervals}")
        if self.zero + self.incompressible > 1:
            raise SourceError("synthetic: zero and incompressible pages are more than all of them")
        if self.pages < 1:
            raise SourceError(f"synthetic: at least one page is needed, not {self.pages}")
        if self.forks < 0:
            raise SourceError(f"synthetic: forks cannot be negative: {self.forks}")


class SyntheticSource:
    """The generator. Content is remembered as one stamp per page, never as bytes."""

    def __init__(self, settings: Synthetic) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._content = Content(settings.seed, zero=settings.zero, incompressible=settings.incompressible)
        self._stamps: dict[int, dict[int, int]] = {}
        self._lives: dict[int, int] = {}
        self._next_stamp = 1
        self._next_space = MAIN_SPACE + 1
        self._drifted = 0
        """Intervals that the drift has taken so far."""

    @property
    def pages(self) -> int:
        """Pages of the parent."""
        return self._settings.pages

    @property
    def pages_left_out(self) -> int:
        """None: it makes as many as it was told."""
        return 0

    @property
    def ended(self) -> bool:
        """Never."""
        return False

    def scan(self) -> Iterator[Change | None]:
        """One interval of all lives; the first time, or after the parent was killed, all its pages."""
        if MAIN_SPACE not in self._stamps:
            self._stamps[MAIN_SPACE] = {}
            yield from self._store(MAIN_SPACE, self._all_vpns())
            return
        self._drift()
        freed = self._some(self._settings.frees)
        if freed:
            noticed = self._noticed()
            for vpn in freed:
                self._stamps[MAIN_SPACE].pop(vpn, None)
            yield Free(MAIN_SPACE, tuple(freed), noticed)
        yield from self._store(MAIN_SPACE, self._some(self._settings.stores))
        # The host may have killed the space meanwhile: then nothing of it is stored.
        held = self._stamps.get(MAIN_SPACE, {})
        yield from self._store(MAIN_SPACE, [vpn for vpn in freed if vpn not in held])
        yield from self._live_and_exit()
        if len(self._lives) < self._settings.forks and MAIN_SPACE in self._stamps:
            yield self._fork()

    def _drift(self) -> None:
        """One step: pages stored from now on are of the new share."""
        settings = self._settings
        if settings.drift_to is None or self._drifted == settings.drift_intervals:
            return
        self._drifted += 1
        done = self._drifted / settings.drift_intervals
        share = settings.incompressible + (settings.drift_to - settings.incompressible) * done
        self._content.drift(self._stamp(), share)

    def _live_and_exit(self) -> Iterator[Change]:
        for child in list(self._lives):
            yield from self._store(child, self._some(self._settings.stores))
            if child not in self._lives:
                continue
            self._lives[child] -= 1
            if self._lives[child] <= 0:
                del self._lives[child], self._stamps[child]
                yield Exit(child, self._noticed())

    def _fork(self) -> Fork:
        child = self._next_space
        self._next_space += 1
        self._stamps[child] = dict(self._stamps[MAIN_SPACE])
        self._lives[child] = self._random.randint(*_CHILD_LIVES)
        return Fork(MAIN_SPACE, child)

    def _store(self, space: int, vpns: Sequence[int]) -> Iterator[Store]:
        for start in range(0, len(vpns), STORE_PAGES):
            stamps = self._stamps.get(space)
            if stamps is None:
                # The host killed this space between two batches.
                return
            batch = vpns[start : start + STORE_PAGES]
            for vpn in batch:
                stamps[vpn] = self._stamp()
            yield Store(space, tuple(batch), b"".join([self._content.page(stamps[vpn]) for vpn in batch]))

    def page(self, space: int, vpn: int) -> bytes | None:
        """The page as it was stored last."""
        stamp = self._stamps.get(space, {}).get(vpn)
        return None if stamp is None else self._content.page(stamp)

    def rewrite(self, space: int, vpns: Sequence[int]) -> Store | None:
        """New bytes, of a kind drawn anew."""
        stamps = self._stamps.get(space)
        if stamps is None or not vpns:
            return None
        for vpn in vpns:
            stamps[vpn] = self._stamp()
        return Store(space, tuple(vpns), b"".join([self._content.page(stamps[vpn]) for vpn in vpns]))

    def killed(self, space: int) -> None:
        """A child is gone for good; the parent is started again by the next scan."""
        self._stamps.pop(space, None)
        self._lives.pop(space, None)

    def keep(self) -> dict[str, Any]:
        """Its programs' lives so far, and what will be drawn next. Not within a scan."""
        return self.__dict__ | {"_content": self._content.keep()}

    def recall(self, kept: dict[str, Any]) -> None:
        """Go on with these lives."""
        content = self._content
        self.__dict__.update(kept)
        self._content = content
        content.recall(kept["_content"])

    def close(self) -> None:
        """Nothing is held open."""

    def _all_vpns(self) -> range:
        return range(FIRST_VPN, FIRST_VPN + self._settings.pages)

    def _some(self, share: float) -> list[int]:
        """A share of the pages, in address order; at least one where the share is above 0."""
        count = min(self._settings.pages, max(1, round(share * self._settings.pages))) if share else 0
        return sorted(self._random.sample(self._all_vpns(), count))

    def _noticed(self) -> bool:
        return self._random.random() >= self._settings.unnoticed

    def _stamp(self) -> int:
        stamp = self._next_stamp
        self._next_stamp += 1
        return stamp
