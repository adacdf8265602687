"""Stacks of free places: a batch is worked out at once, and does what one by one would do."""

from __future__ import annotations

import numpy as np
import pytest

from cxldev.free_places import FreePlaces

STEP, CLASSES, ARENA = 32, 4, 32 * 4096


def test_what_was_freed_last_is_taken_first() -> None:
    """Each size has a stack of its own."""
    free = FreePlaces(ARENA, STEP, CLASSES)
    free.push(np.array([0, 320, 64, 640]), np.array([1, 2, 1, 2]))
    places, top = free.pop(np.array([2, 1, 2]), 1000)
    assert places.tolist() == [640, 64, 320]
    assert top == 1000
    assert free.pop_single(1) == 0
    assert free.pop_single(1) is None


def test_fresh_places_follow_one_another() -> None:
    """What the stacks do not have is cut from the top."""
    free = FreePlaces(ARENA, STEP, CLASSES)
    free.push_single(32, 3)
    places, top = free.pop(np.array([3, 1, 3]), 320)
    assert sorted(places.tolist()) == [32, 320, 352]
    assert places[0] == 32
    assert top == 320 + 4 * STEP


@pytest.mark.parametrize("seed", range(8))
def test_no_place_is_given_twice(seed: int) -> None:
    """Places in use and free ones never overlap, and cover everything below the top."""
    draw = np.random.default_rng(seed)
    free = FreePlaces(ARENA, STEP, CLASSES)
    used: dict[int, int] = {}
    top = 0
    for _ in range(60):
        steps = draw.integers(1, CLASSES + 1, draw.integers(1, 20))
        places, top = free.pop(steps, top)
        for place, step in zip(places.tolist(), steps.tolist(), strict=True):
            assert place not in used
            used[place] = step
        given = draw.permutation(list(used))[: draw.integers(0, 20)]
        if len(given):
            free.push(given, np.array([used.pop(place) for place in given.tolist()]))
        spans = list(used.items())
        spans += [(place, size // STEP) for held, size in free for place in held.tolist()]
        end = 0
        for place, step in sorted(spans):
            assert place == end
            end = place + step * STEP
        assert end == top
