"""The ledger of what every page should hold."""

from __future__ import annotations

from agent_helpers import PAGE, noise
from cramagent.truth import Truth, digest, digest_pages


def test_a_page_matches_what_was_stored_last() -> None:
    """Not what was stored before, and not one byte else."""
    truth = Truth()
    truth.remember(0, 7, digest(noise(1)))
    truth.remember(0, 7, digest(noise(2)))
    wrong = bytearray(noise(2))
    wrong[4095] ^= 1
    assert truth.matches(0, 7, noise(2))
    assert not truth.matches(0, 7, noise(1))
    assert not truth.matches(0, 7, bytes(wrong))


def test_a_page_that_nobody_stored_is_zeros() -> None:
    """As the kernel hands out."""
    truth = Truth()
    assert truth.matches(0, 7, bytes(PAGE))
    assert not truth.matches(0, 7, noise(1))


def test_a_doubtful_page_may_be_old_or_new() -> None:
    """A store that was not answered may have happened; the next one settles it."""
    truth = Truth()
    truth.remember(0, 7, digest(noise(1)))
    truth.doubt(0, 7, digest(noise(2)))
    assert truth.matches(0, 7, noise(1))
    assert truth.matches(0, 7, noise(2))
    assert not truth.matches(0, 7, noise(3))
    truth.remember(0, 7, digest(noise(3)))
    assert not truth.matches(0, 7, noise(2))


def test_what_a_read_shows_settles_a_doubt() -> None:
    """On new or on old; wrong bytes settle nothing."""
    for number in (1, 2):
        truth = Truth()
        truth.remember(0, 7, digest(noise(1)))
        truth.doubt(0, 7, digest(noise(2)))
        assert not truth.settle(0, 7, noise(3))
        assert truth.settle(0, 7, noise(number))
        assert truth.matches(0, 7, noise(number))
        assert not truth.matches(0, 7, noise(3 - number))


def test_a_page_that_nobody_stored_and_in_doubt() -> None:
    """Zeros settle it, too."""
    truth = Truth()
    truth.doubt(0, 7, digest(noise(2)))
    assert truth.settle(0, 7, bytes(PAGE))
    assert not truth.has(0, 7)
    assert not truth.matches(0, 7, noise(2))


def test_a_fork_parts_from_its_parent() -> None:
    """Equal at first, doubts too; then each for itself."""
    truth = Truth()
    truth.remember(0, 7, digest(noise(1)))
    truth.doubt(0, 7, digest(noise(9)))
    truth.fork(0, 1)
    assert truth.matches(1, 7, noise(1))
    assert truth.matches(1, 7, noise(9))
    truth.remember(1, 7, digest(noise(2)))
    assert truth.matches(0, 7, noise(1))
    assert not truth.matches(0, 7, noise(2))


def test_what_is_forgotten_is_gone() -> None:
    """A page, and a whole space."""
    truth = Truth()
    for vpn in range(4):
        truth.remember(0, vpn, digest(noise(vpn)))
        truth.doubt(0, vpn, digest(noise(9)))
    truth.forget(0, 1)
    assert not truth.has(0, 1)
    assert not truth.matches(0, 1, noise(9))
    assert len(truth) == 3
    truth.forget_space(0)
    assert len(truth) == 0
    assert not truth.matches(0, 2, noise(9))


def test_digests_of_many_pages_are_those_of_each() -> None:
    """One call for a batch."""
    assert digest_pages(noise(1) + noise(2)) == [digest(noise(1)), digest(noise(2))]
