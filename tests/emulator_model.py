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
    staged: dict[int, int] = field(default_factory=dict)
    """Of each staged page: the number of its write. `media` is what it holds beside the buffer."""
    last_staged: int = 0
    last_staged_due: int = 0
    promised: int = 0
    """Write credits, pages."""
    asked: tuple[int, int | None] | None = None
    """What the device asks back: pages that may stay, and when it takes the others."""

    @property
    def stored(self) -> int:
        """Media that it takes outside of the staging buffer, queued TRIMs too."""
        return sum(self.media.values()) + sum(media for _, _, media in self.queue)

    @property
    def used(self) -> int:
        """Media that it takes."""
        return self.stored + len(self.staged) * PAGE

    @property
    def unmet(self) -> int:
        """Media that it is guaranteed and has not taken."""
        return max(0, self.guarantee - self.stored, self.promised * PAGE)


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
        staging: int = 0,
        staging_delay: int = 0,
    ) -> None:
        self.staging, self.staging_delay = staging, staging_delay
        self.physical, self.sector, self.metadata = physical, sector, metadata
        self.poisons, self.trim_delay, self.sectors = poisons, trim_delay, sectors
        self.now = 0
        self.exhaustion: dict[str, int] = {}
        self.collapse: dict[str, int] = {}
        self.wall: dict[str, int] = {}
        self.lost_late = 0
        """Pages that were acknowledged into the buffer and found no room behind it, of all power-ons."""
        self.power_on()

    def power_on(self) -> None:
        """Nothing is kept but the armed faults."""
        self.regions: dict[str, ModelRegion] = {}
        self.reserved = 0
        self.refused_pages = 0
        self.level = 1
        self.no_more_writes = False
        self.waiting: list[tuple[int, int, ModelRegion, list[int]]] = []
        """Staged writes: number, due, whose, pages."""
        self.last_staged = self.last_drained = self.busy_until = 0
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

    @property
    def staged(self) -> int:
        """What lies in the staging buffer."""
        return sum(len(region.staged) for region in self.regions.values()) * PAGE

    @property
    def room(self) -> int:
        """Free, and not set aside for staging."""
        return self.free - (self.staging - self.staged)

    def unmet_of_others(self, region: ModelRegion) -> int:
        """What is kept for other regions."""
        return sum(other.unmet for other in self.regions.values() if other is not region)

    def hold_back(self) -> None:
        """Armed faults take what is free."""
        target = min(self.physical, sum(self.exhaustion.values()))
        self.reserved += min(target - self.reserved, self.room)

    def settle(self) -> None:
        """What follows from a change of media."""
        self.hold_back()
        marks = {2: 500, 3: 250, 4: 125, 5: 50}
        hysteresis = self.physical * 25 // 1000
        falls_to = max(
            (level for level, milli in marks.items() if self.room <= self.physical * milli // 1000), default=1
        )
        rises_to = max(
            (
                level
                for level, milli in marks.items()
                if self.room <= self.physical * milli // 1000 + hysteresis
            ),
            default=1,
        )
        self.level = falls_to if falls_to > self.level else min(self.level, rises_to)
        floor = self.physical * 50 // 1000 + hysteresis
        if self.room > floor and self.room >= PAGE + self.metadata:
            self.no_more_writes = False

    def advance(self, now: int) -> None:
        """Time passes."""
        self.now = max(self.now, now)
        while self.waiting and self.waiting[0][1] <= self.now:
            self.come_back(self.waiting[0][1])
            self.drain()
        self.come_back(self.now)

    def come_back(self, until: int) -> None:
        """TRIMs are released, leases end."""
        released = 0
        for region in self.regions.values():
            while region.queue and region.queue[0][0] <= until:
                _, pages, media = region.queue.pop(0)
                released += pages
                region.trim_released += media
        if released:
            self.settle()
        for region in self.regions.values():
            if region.asked is not None and region.asked[1] is not None and region.asked[1] <= until:
                self.take(region)
        for region in list(self.regions.values()):
            if region.expires_ns <= until:
                self.detach(region.host)

    def take(self, region: ModelRegion) -> int:
        """By force, what was asked back: pages that held data there."""
        assert region.asked is not None
        region.pages_long, region.asked = region.asked[0], None
        gone = [page for page in region.pages if page >= region.pages_long]
        for page in gone:
            del region.pages[page], region.media[page]
            region.staged.pop(page, None)
        self.settle()
        return len(gone)

    def room_of(self, region: ModelRegion) -> int:
        """Media that its new pages may take."""
        pending = min(self.physical, sum(self.exhaustion.values())) - self.reserved
        room = self.room - pending - self.unmet_of_others(region) - self.staged - region.promised * PAGE
        if region.limit < self.physical:
            room = min(room, region.limit - region.used)
        return max(0, room)

    def detach(self, host: str) -> int:
        """The region is gone: media that came back."""
        region = self.regions.pop(host)
        released = region.used
        region.staged.clear()
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
        taken = self.stage(region, pages, contents)
        # Places in the buffer that newer bytes give up count until the write is over.
        buffered = len(region.staged) * PAGE
        for page, data in list(zip(pages, contents, strict=True))[taken:]:
            cost, held = self.cost(data), region.media.get(page, 0)
            room = self.room - self.unmet_of_others(region)
            if not held:
                room -= region.promised * PAGE
            if cost > held:
                if region.limit < self.physical and region.stored + buffered - held + cost > region.limit:
                    outcome = Refused(taken, "limit")
                    break
                if cost - held > room:
                    exhausted |= cost - held > self.room
                    if not self.poisons:
                        outcome = Refused(taken, "media")
                        break
                    region.pages[page], region.media[page] = POISON, 0
                    region.staged.pop(page, None)
                    self.hold_back()
                    taken += 1
                    continue
            region.pages[page], region.media[page] = data, cost
            region.staged.pop(page, None)
            self.hold_back()
            taken += 1
        if taken:
            self.settle()
        if exhausted:
            self.no_more_writes = True
        if outcome is not None:
            self.refused_pages += len(pages) - taken
        return outcome

    def grant(self, host: str, claimed: int, wanted: int, share: int) -> int:
        """Credits: how many more."""
        region = self.regions[host]
        pending = min(self.physical, sum(self.exhaustion.values())) - self.reserved
        room = self.room - pending - self.unmet_of_others(region) - self.staged
        fair = max(region.guarantee - region.stored, room * share // 1000 // len(self.regions))
        most = min(room, fair)
        if region.limit < self.physical:
            most = min(most, region.limit - region.used)
        held = min(claimed, region.promised)
        granted = 0 if self.no_more_writes else max(0, min(wanted, max(0, most) // PAGE - held))
        region.promised = held + granted
        return granted

    def stage(self, region: ModelRegion, pages: list[int], contents: list[bytes]) -> int:
        """Pages from the front into the buffer, up to the first that it cannot have: how many."""
        front: list[int] = []
        for page, data in zip(pages, contents, strict=True):
            buffer = 0 if page in region.staged else PAGE
            metadata = 0 if region.pages.get(page) else self.metadata
            if (
                self.no_more_writes
                or self.staged + buffer > self.staging
                or (metadata and metadata > self.room - self.unmet_of_others(region))
                or (region.limit < self.physical and region.used + buffer + metadata > region.limit)
            ):
                break
            front.append(page)
            region.pages[page] = data
            region.media[page] = region.media.get(page, 0) + metadata
            region.staged[page] = self.last_staged + 1
        if front:
            self.last_staged += 1
            self.busy_until = max(self.now + self.staging_delay, self.busy_until) + len(front)
            self.waiting.append((self.last_staged, self.busy_until, region, front))
            region.last_staged, region.last_staged_due = self.last_staged, self.busy_until
        return len(front)

    def drain(self) -> None:
        """The oldest staged write finds room, or is lost page by page."""
        number, _, region, pages = self.waiting.pop(0)
        self.last_drained = number
        pages = [page for page in pages if region.staged.get(page) == number]
        exhausted = False
        for page in pages:
            del region.staged[page]
            data, held = region.pages[page], region.media[page]
            assert data is not None
            growth = self.cost(data) - held
            kept = region.promised * PAGE if held == self.metadata else 0
            if growth > 0 and growth > self.room - self.unmet_of_others(region) - kept:
                exhausted |= growth > self.room
                region.pages[page], region.media[page] = POISON, 0
                self.lost_late += 1
            else:
                region.media[page] += growth
            self.hold_back()
        if pages:
            self.settle()
        if exhausted:
            self.no_more_writes = True

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
            region.staged.pop(page, None)
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
            region.staged.pop(page, None)
        self.settle()
