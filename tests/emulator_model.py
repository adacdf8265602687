"""The device as simple as it can be told: dicts of pages, one page at a time, no cleverness.

It knows nothing of arenas, columns or batches. It answers what the device must answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE = 4096
POISON = None


@dataclass
class ModelRegion:
    """One host's pages: bytes, or POISON, with the media that each takes."""

    host: str
    session: str
    pages_long: int
    guarantee: int
    limit: int
    lease_ns: int
    expires_ns: int
    pages: dict[int, bytes | None] = field(default_factory=dict)
    media: dict[int, int] = field(default_factory=dict)
    queue: list[tuple[int, int, int]] = field(default_factory=list)
    """Of each TRIM: due, pages, media bytes."""
    trim_released: int = 0

    @property
    def used(self) -> int:
        """Media that it takes, queued TRIMs too."""
        return sum(self.media.values()) + sum(media for _, _, media in self.queue)

    @property
    def unmet(self) -> int:
        """Media that it is guaranteed and has not taken."""
        return max(0, self.guarantee - self.used)


@dataclass
class Refused:
    """How a write ends that was not taken as a whole."""

    accepted: int
    reason: str


class ModelDevice:
    """The whole device. `sectors` tells how many sectors the bytes of a page take."""

    def __init__(
        self,
        physical: int,
        sector: int,
        metadata: int,
        *,
        poisons: bool,
        trim_delay: int,
        sectors: dict[bytes, int],
    ) -> None:
        self.physical, self.sector, self.metadata = physical, sector, metadata
        self.poisons, self.trim_delay, self.sectors = poisons, trim_delay, sectors
        self.now = 0
        self.exhaustion: dict[str, int] = {}
        self.collapse: dict[str, int] = {}
        self.wall: dict[str, int] = {}
        self.power_on()

    def power_on(self) -> None:
        """Nothing is kept but the armed faults."""
        self.regions: dict[str, ModelRegion] = {}
        self.reserved = 0
        self.refused_pages = 0
        self.level = 1
        self.no_more_writes = False
        self.settle()

    # -- media ----------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Media that it takes, queued TRIMs too."""
        return sum(region.used for region in self.regions.values()) + self.reserved

    @property
    def free(self) -> int:
        """Media that nobody has."""
        return self.physical - self.used

    def unmet_of_others(self, region: ModelRegion) -> int:
        """What is kept for other regions."""
        return sum(other.unmet for other in self.regions.values() if other is not region)

    def hold_back(self) -> None:
        """Armed faults take what is free."""
        target = min(self.physical, sum(self.exhaustion.values()))
        self.reserved += min(target - self.reserved, self.free)

    def settle(self) -> None:
        """What follows from a change of media."""
        self.hold_back()
        marks = {2: 500, 3: 250, 4: 125, 5: 50}
        hysteresis = self.physical * 25 // 1000
        falls_to = max(
            (level for level, milli in marks.items() if self.free <= self.physical * milli // 1000), default=1
        )
        rises_to = max(
            (
                level
                for level, milli in marks.items()
                if self.free <= self.physical * milli // 1000 + hysteresis
            ),
            default=1,
        )
        self.level = falls_to if falls_to > self.level else min(self.level, rises_to)
        floor = self.physical * 50 // 1000 + hysteresis
        if self.free > floor and self.free >= PAGE + self.metadata:
            self.no_more_writes = False

    def advance(self, now: int) -> None:
        """Time passes."""
        self.now = max(self.now, now)
        released = 0
        for region in self.regions.values():
            while region.queue and region.queue[0][0] <= self.now:
                _, pages, media = region.queue.pop(0)
                released += pages
                region.trim_released += media
        if released:
            self.settle()
        for region in list(self.regions.values()):
            if region.expires_ns <= self.now:
                self.detach(region.host)

    def detach(self, host: str) -> int:
        """The region is gone: media that came back."""
        released = self.regions.pop(host).used
        self.settle()
        return released

    # -- data -----------------------------------------------------------------------------------

    def cost(self, data: bytes) -> int:
        """Media of a page that is written now."""
        sectors = self.sectors[data]
        for ratio in self.collapse.values():
            sectors = max(sectors, -(-PAGE * 1000 // (ratio * self.sector)))
        return sectors * self.sector + self.metadata

    def write(self, host: str, pages: list[int], contents: list[bytes]) -> Refused | None:
        """One page after the other."""
        region = self.regions[host]
        outcome = None
        exhausted = False
        taken = 0
        for page, data in zip(pages, contents, strict=True):
            cost, held = self.cost(data), region.media.get(page, 0)
            room = self.free - self.unmet_of_others(region)
            if cost > held:
                if region.limit < self.physical and region.used - held + cost > region.limit:
                    outcome = Refused(taken, "limit")
                    break
                if cost - held > room:
                    exhausted |= cost - held > self.free
                    if not self.poisons:
                        outcome = Refused(taken, "media")
                        break
                    region.pages[page], region.media[page] = POISON, 0
                    self.hold_back()
                    taken += 1
                    continue
            region.pages[page], region.media[page] = data, cost
            self.hold_back()
            taken += 1
        if taken:
            self.settle()
        if exhausted:
            self.no_more_writes = True
        if outcome is not None:
            self.refused_pages += len(pages) - taken
        return outcome

    def read(self, host: str, pages: list[int]) -> list[bytes | None]:
        """Bytes of each page, or POISON."""
        region = self.regions[host]
        return [region.pages.get(page, bytes(PAGE)) for page in pages]

    def trim(self, host: str, pages: range) -> int:
        """How many pages held data."""
        region = self.regions[host]
        gone = [page for page in pages if page in region.pages]
        with_media = [page for page in gone if region.pages[page] is not POISON]
        media = sum(region.media.pop(page) for page in gone)
        for page in gone:
            del region.pages[page]
        if with_media and self.trim_delay:
            region.queue.append((self.now + self.trim_delay, len(with_media), media))
        elif with_media:
            region.trim_released += media
            self.settle()
        return len(gone)

    def poison(self, host: str, pages: list[int]) -> None:
        """Stored pages lose their bytes."""
        region = self.regions[host]
        for page in pages:
            region.pages[page], region.media[page] = POISON, 0
        self.settle()
