"""Stacks of free places: many laid down at once lie as they would one by one."""

from __future__ import annotations

import numpy as np
import pytest

from cxldev.free_places import FreePlaces

STEP, CLASSES = 32, 4


def test_what_was_freed_last_is_taken_first() -> None:
    """Each size has a stack of its own."""
    free = FreePlaces(STEP, CLASSES)
    free.push(np.array([0, 320, 64, 640]), np.array([1, 2, 1, 2]))
    places, top = free.pop([2, 1, 2], 1000)
    assert places == [640, 64, 320]
    assert top == 1000
    assert free.pop_single(1) == 0
    assert free.pop_single(1) is None


def test_fresh_places_follow_one_another() -> None:
    """What the stacks do not have is cut from the top; what takes no step has no place."""
    free = FreePlaces(STEP, CLASSES)
    free.push_single(32, 3)
    places, top = free.pop([3, 1, 0, 3], 320)
    assert places == [32, 320, 0, 352]
    assert top == 320 + 4 * STEP


def test_many_lie_as_they_would_one_by_one() -> None:
    """As a TRIM gives them back, and as small ones do."""
    draw = np.random.default_rng(1)
    steps = draw.integers(1, CLASSES + 1, 2000)
    places = draw.permutation(2000) * STEP
    together, apart = FreePlaces(STEP, CLASSES), FreePlaces(STEP, CLASSES)
    together.push(places, steps)
    for place, step in zip(places.tolist(), steps.tolist(), strict=True):
        apart.push_single(place, step)
    taken = draw.integers(0, CLASSES + 1, 3000).tolist()
    assert together.pop(taken, 0) == apart.pop(taken, 0)


@pytest.mark.parametrize("seed", range(8))
def test_no_place_is_given_twice(seed: int) -> None:
    """Places in use and free ones never overlap, and cover everything below the top."""
    draw = np.random.default_rng(seed)
    free = FreePlaces(STEP, CLASSES)
    used: dict[int, int] = {}
    top = 0
    for _ in range(60):
        steps = draw.integers(1, CLASSES + 1, draw.integers(1, 20))
        places, top = free.pop(steps.tolist(), top)
        for place, step in zip(places, steps.tolist(), strict=True):
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
