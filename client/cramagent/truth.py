"""What every page of every space should hold: a 128-bit hash of its bytes, never the bytes.

The ledger knows nothing of the policy. It hears of stores, forks and frees from the workload, so a
page that the policy mixes up, loses or brings back old is found by the next comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xxhash import xxh3_128_intdigest

from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

digest = xxh3_128_intdigest
"""The hash of one page's bytes."""
_NONE: Final[dict[int, int]] = {}

ZERO_DIGEST: Final = digest(bytes(PAGE_BYTES))


def digest_pages(data: bytes | memoryview) -> list[int]:
    """The hash of each 4096-byte page of `data`."""
    view = memoryview(data)
    return [digest(view[start : start + PAGE_BYTES]) for start in range(0, len(view), PAGE_BYTES)]


class Truth:
    """Hashes by (space, vpn). Spaces are the workload's own numbers."""

    def __init__(self) -> None:
        self._spaces: dict[int, dict[int, int]] = {}
        self._doubts: dict[tuple[int, int], set[int]] = {}

    def __len__(self) -> int:
        return sum(len(pages) for pages in self._spaces.values())

    def spaces(self) -> list[int]:
        """Spaces that are known."""
        return list(self._spaces)

    def pages(self, space: int) -> Iterator[tuple[int, int]]:
        """(vpn, hash) of a space's pages."""
        yield from self._spaces.get(space, {}).items()

    def has(self, space: int, vpn: int) -> bool:
        """Whether the space should hold this page."""
        return vpn in self._spaces.get(space, ())

    def remember(self, space: int, vpn: int, digest_: int) -> None:
        """A store of these bytes was done. Settles any doubt."""
        self._spaces.setdefault(space, {})[vpn] = digest_
        if self._doubts:
            self._doubts.pop((space, vpn), None)

    def remember_all(self, space: int, vpns: Sequence[int], digests: Sequence[int]) -> None:
        """As `remember`, for many pages of one space."""
        self._spaces.setdefault(space, {}).update(zip(vpns, digests, strict=True))
        if self._doubts:
            for vpn in vpns:
                self._doubts.pop((space, vpn), None)

    def doubt(self, space: int, vpn: int, digest_: int) -> None:
        """A store of these bytes was not answered: old and new are right until a store or read settles it."""
        self._doubts.setdefault((space, vpn), set()).add(digest_)

    def forget(self, space: int, vpn: int) -> None:
        """The page was freed."""
        self._spaces.get(space, {}).pop(vpn, None)
        self._doubts.pop((space, vpn), None)

    def forget_space(self, space: int) -> None:
        """The space ended."""
        self._spaces.pop(space, None)
        for key in [key for key in self._doubts if key[0] == space]:
            del self._doubts[key]

    def fork(self, parent: int, child: int) -> None:
        """The child holds what the parent holds."""
        self._spaces[child] = dict(self._spaces.get(parent, {}))
        for (space, vpn), digests in list(self._doubts.items()):
            if space == parent:
                self._doubts[child, vpn] = set(digests)

    def matches(self, space: int, vpn: int, data: bytes | memoryview) -> bool:
        """Whether these are the bytes that the page should hold. A page that nobody stored is zeros."""
        found = digest(data)
        if found == self._spaces.get(space, {}).get(vpn, ZERO_DIGEST):
            return True
        return bool(self._doubts) and found in self._doubts.get((space, vpn), ())

    def settle(self, space: int, vpn: int, data: bytes | memoryview) -> bool:
        """A read showed these bytes: whether they are right. If so, the page holds them, and no others."""
        return not self.settle_all([(space, vpn)], [digest(data)])

    def settle_all(self, pages: Sequence[tuple[int, int]], found: list[int]) -> list[int]:
        """As `settle`, for pages (space, vpn) and the hashes that reads showed: places of the wrong ones."""
        spaces = self._spaces
        expected = [spaces.get(space, _NONE).get(vpn, ZERO_DIGEST) for space, vpn in pages]
        if not self._doubts and expected == found:
            return []
        shown = zip(pages, found, strict=True)
        return [place for place, (page, one) in enumerate(shown) if not self._settle(page, one)]

    def _settle(self, page: tuple[int, int], found: int) -> bool:
        space, vpn = page
        if found in self._doubts.get(page, ()):
            self.remember(space, vpn, found)
        elif found == self._spaces.get(space, _NONE).get(vpn, ZERO_DIGEST):
            self._doubts.pop(page, None)
        else:
            return False
        return True

    def differences(self, space: int, vpns: Sequence[int], data: bytes | memoryview) -> list[int]:
        """Positions in `vpns` whose page of `data` is not what it should be."""
        view = memoryview(data)
        return [
            index
            for index, vpn in enumerate(vpns)
            if not self.matches(space, vpn, view[index * PAGE_BYTES : (index + 1) * PAGE_BYTES])
        ]
