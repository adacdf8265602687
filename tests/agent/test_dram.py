"""Frames, and how batches of them move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_helpers import PAGE, noise
from cramagent.dram import Dram

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def dram() -> Iterator[Dram]:
    """16 frames and 4 of scratch."""
    made = Dram(16, scratch_pages=4)
    yield made
    made.close()


@pytest.mark.parametrize("frames", [[3], [3, 4, 5], [5, 3, 4], [0, 2, 19]])
def test_a_batch_comes_back_as_it_went_in(dram: Dram, frames: list[int]) -> None:
    """Frames in a row and frames anywhere hold what was scattered to them, in that order."""
    data = b"".join(noise(frame) for frame in frames)
    dram.scatter(frames, data)
    assert dram.gather(frames) == data
    assert all(dram.frame(frame) == noise(frame) for frame in frames)


def test_scatter_touches_no_other_frame(dram: Dram) -> None:
    """The neighbours stay zero."""
    dram.scatter([4, 6], noise(1) + noise(2))
    assert dram.gather([3, 5, 7]) == bytes(3 * PAGE)


def test_zero_and_copy(dram: Dram) -> None:
    """One frame is zeroed, one copied; both are whole pages."""
    dram.scatter([1], noise(1))
    dram.copy(1, 2)
    dram.zero([1])
    assert dram.frame(1) == bytes(PAGE)
    assert dram.frame(2) == noise(1)


def test_scratch_lies_behind_the_policys_frames(dram: Dram) -> None:
    """Numbers from dram_pages on are the runner's."""
    assert list(dram.scratch) == [16, 17, 18, 19]


def test_a_view_that_is_still_held_does_not_stand_in_the_way() -> None:
    """As a traceback's frame holds one, where a run ends in the middle of a copy."""
    made = Dram(4, scratch_pages=1)
    held = made.frame(1)
    made.close()
    assert held == bytes(PAGE)


def test_an_empty_batch_is_empty(dram: Dram) -> None:
    """No frame, no byte."""
    assert dram.gather([]) == b""
