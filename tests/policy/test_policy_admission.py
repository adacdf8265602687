"""The upper bound of admission: no reading, however late it comes, may promise more than there is."""

from __future__ import annotations

from cramagent.policy.admission import QUIET_NS, WORST_PAGE_BYTES, Admittance
from cramagent.policy.settings import Admission, PolicySettings
from policy_helpers import a_reading


class Media:
    """A device with room for so many pages at their worst, and the host's admittance to it."""

    def __init__(self, pages: int) -> None:
        self.admittance = Admittance(PolicySettings(dram_pages=64, admission=Admission.UPPER_BOUND))
        self.capacity = pages
        self.raw = 0
        self.zeros = 0
        self.now_ns = 0
        self.comes(self.taken())

    def taken(self) -> tuple[int, int]:
        """A reading, as the device takes it: (free, stored) pages."""
        return self.capacity - self.raw, self.raw + self.zeros

    def comes(self, taken: tuple[int, int]) -> None:
        """It reaches the host."""
        free = taken[0] * WORST_PAGE_BYTES
        reading = a_reading(media_free_bytes=free, region_free_bytes=free, stored_pages=taken[1])
        self.admittance.reading(reading, self.raw + self.zeros, self.now_ns)

    def demote(self, pages: int, *, zeros: int = 0) -> None:
        """Pages at their worst, and pages that take no media."""
        assert self.admittance.allowance(pages + zeros) == pages + zeros
        self.raw += pages
        self.zeros += zeros
        self.admittance.allocated(pages + zeros)

    def trim_zeros(self, pages: int) -> None:
        """Pages whose TRIM gives no media back."""
        self.zeros -= pages
        self.admittance.trimmed(pages)

    @property
    def allowed(self) -> int:
        """What may be demoted now."""
        return self.admittance.allowance(1000)


def test_a_reading_that_was_under_way_while_pages_were_trimmed() -> None:
    """Eight TRIMmed pages hide eight of the sixteen new ones from held minus stored."""
    media = Media(32)
    media.demote(8, zeros=8)
    late = media.taken()
    media.trim_zeros(8)
    media.demote(16)
    media.comes(late)
    assert media.allowed == 32 - 24


def test_readings_that_waited_together() -> None:
    """Two were under way: the second one is as old as the first."""
    media = Media(32)
    media.demote(8, zeros=8)
    late = media.taken()
    media.trim_zeros(8)
    media.demote(16)
    media.comes(late)
    media.comes(late)
    assert media.allowed == 32 - 24


def test_a_fresh_reading_costs_nothing_while_nothing_is_trimmed() -> None:
    """Then held and stored pages tell exactly what it knows."""
    media = Media(32)
    media.demote(8)
    media.comes(media.taken())
    assert media.allowed == 24


def test_when_all_is_quiet_a_reading_knows_of_everything() -> None:
    """What was held back for the doubt is given."""
    media = Media(32)
    media.demote(8, zeros=8)
    media.trim_zeros(4)
    media.comes(media.taken())
    assert media.allowed == 24 - 4, "four of them might be unseen"
    media.now_ns += QUIET_NS
    media.comes(media.taken())
    assert media.allowed == 24


def test_a_new_session_remembers_nothing() -> None:
    """Neither room nor doubt."""
    media = Media(32)
    media.demote(8)
    media.trim_zeros(0)
    media.admittance.reset()
    assert media.allowed == 0
    media.raw = 0
    media.comes(media.taken())
    assert media.allowed == 32


def test_a_page_is_as_large_as_the_device_says() -> None:
    """With its metadata: a reading's room is counted in the largest pages that there can be."""
    admittance = Admittance(PolicySettings(dram_pages=64, admission=Admission.UPPER_BOUND))
    free = 10 * 5000
    admittance.reading(a_reading(media_free_bytes=free, worst_page_bytes=5000), 0, 0)
    assert admittance.allowance(64) == 10
